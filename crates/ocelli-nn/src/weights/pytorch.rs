//! PyTorch checkpoints: the zip of today, the pickle stream before 1.6, the tar before 0.1.10.
//!
//! `pytorch-reader` interprets the pickle without running anything. What it leaves to its caller is done
//! here: to find the weights in a checkpoint, to refuse what is neither tensor nor plain value, and to bound
//! memory by the size of the file.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use pytorch_reader::{DType, PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use super::{TensorFile, is_counter};
use crate::{Error, Result};

/// How many bytes show whether a file is one.
pub const START: usize = TAR.start + TAR.magic.len();

/// Where a tar file says that it is one.
const TAR: Magic = Magic { start: 257, magic: b"ustar" };

struct Magic {
    start: usize,
    magic: &'static [u8],
}

/// Under which names training scripts keep the weights, averaged ones first, as timm prefers them.
const NESTED: [&str; 5] = ["state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model"];

/// Python objects that are as harmless as numbers.
const PLAIN: [&str; 8] = [
    "int", // one of more than 64 bits
    "torch.Size",
    "torch.device",
    "torch.float16",
    "torch.bfloat16",
    "torch.float32",
    "torch.float64",
    "torch.int64",
];
/// How the reader calls a tensor among other values.
const TENSOR: &str = "torch.Tensor";

/// Tensors may be larger than their file, where they share or compress their values, but not by more than
/// this.
const EXPANSION: u64 = 16;

/// The largest pickle of a zip that is read, in bytes: it may be compressed, and is parsed into many times its
/// memory.
const LARGEST_PICKLE: u64 = 32 << 20;

/// The most entries of a zip or tar that are read.
const MOST_ENTRIES: u64 = 100_000;

/// Whether a file that begins so is meant as a checkpoint.
pub fn begins(start: &[u8]) -> bool {
    is_tar(start) || start.starts_with(b"PK") || start.first() == Some(&0x80) // a pickle of protocol 2 or more
}

fn is_tar(start: &[u8]) -> bool {
    start.get(TAR.start..).is_some_and(|rest| rest.starts_with(TAR.magic))
}

pub fn read(path: &Path) -> Result<TensorFile> {
    let origin = path.display().to_string();
    let broken = |reason: &dyn std::fmt::Display| Error::NotPyTorch {
        origin: origin.clone(),
        reason: reason.to_string(),
    };
    let limit = size_limit(path).map_err(|error| broken(&error))?;
    let too_large = || broken(&format!("its tensors are more than {EXPANSION} times as large as the file"));

    let content = PytorchReader::read_pickle_data(path, None).map_err(|error| broken(&error))?;
    refuse_foreign(&content, &mut Vec::new(), &origin)?;
    let nested = match &content {
        PickleValue::Dict(entries) => NESTED
            .into_iter()
            .find_map(|name| entries.get(name).filter(|value| has_tensors(value)).map(|value| (name, value))),
        _ => None,
    };
    // The reader makes a name of all keys to a tensor, and has one tensor of each name.
    let mut names = Names { left: limit, seen: HashSet::new() };
    names.add(nested.map_or(&content, |(_, value)| value), &mut Vec::new(), &origin)?;
    let reader = match nested {
        Some((name, _)) => PytorchReader::with_top_level_key(path, name),
        None => PytorchReader::new(path),
    };
    let reader = reader.map_err(|error| broken(&error))?;
    if reader.metadata().total_data_size.is_some_and(|stored| stored as u64 > limit) {
        return Err(too_large());
    }
    let tensors: BTreeMap<String, Tensor> =
        reader.into_tensors().into_iter().filter(|(name, _)| !is_counter(name)).collect();
    let total = tensors.values().try_fold(0u64, |total, tensor| total.checked_add(tensor.byte_len() as u64));
    if total.is_none_or(|total| total > limit) {
        return Err(too_large());
    }
    if tensors.is_empty() {
        return Err(broken(&"it holds no tensors"));
    }

    let mut file = TensorFile::new(&origin);
    for (name, tensor) in tensors {
        let shape = tensor.shape().to_vec();
        let bytes = tensor.read().map_err(|error| broken(&error))?;
        let values = to_f32(tensor.dtype(), &bytes).ok_or_else(|| Error::TensorType {
            origin: origin.clone(),
            tensor: name.clone(),
            found: format!("{:?}", tensor.dtype()),
        })?;
        file.insert(name, shape, values);
    }
    Ok(file)
}

/// What a file's tensors may take in memory. The reader takes the entries of a tar into memory whole, so that
/// one which claims more than that is refused here.
fn size_limit(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let limit = file.metadata()?.len().saturating_mul(EXPANSION);
    let mut start = Vec::new();
    file.by_ref().take(START as u64).read_to_end(&mut start)?;
    let too_many = |count: u64| {
        let claim = format!("it has {count} entries, more than the limit of {MOST_ENTRIES}");
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, claim))
    };
    if start.starts_with(b"PK") {
        match zip_entries(&mut file)? {
            count if count > MOST_ENTRIES => return too_many(count),
            _ => {}
        }
        let size = largest_pickle(file)?;
        if size > LARGEST_PICKLE {
            let claim = format!(
                "its pickle has {size} bytes, more than the limit of {LARGEST_PICKLE}: it holds more than weights"
            );
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, claim));
        }
    } else if is_tar(&start) {
        file.rewind()?;
        for (count, entry) in (1..).zip(tar::Archive::new(file).entries()?) {
            if count > MOST_ENTRIES {
                return too_many(count);
            }
            let entry = entry?;
            if entry.size() > limit {
                let claim = format!("an entry claims {} bytes, far more than the file has", entry.size());
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, claim));
            }
        }
    }
    Ok(limit)
}

/// The number of entries that a zip claims, before each is taken into memory: the largest in what may be the
/// record at its end, of which there can be several where a comment looks like one.
fn zip_entries(file: &mut (impl Read + Seek)) -> std::io::Result<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const END_64: &[u8] = b"PK\x06\x06";
    // Records of 22 and 56 bytes, one's locator of 20, and a comment of at most 65,535.
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(22 + 56 + 20 + 65_535)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let counts = |at: usize| {
        let rest = &end[at..];
        if rest.starts_with(END) {
            Some(u64::from(u16::from_le_bytes(*rest.get(10..)?.first_chunk()?)))
        } else if rest.starts_with(END_64) {
            Some(u64::from_le_bytes(*rest.get(32..)?.first_chunk()?))
        } else {
            None
        }
    };
    Ok((0..end.len()).filter_map(counts).max().unwrap_or(0))
}

/// The size that a zip claims for its pickle, or for the largest, where several may be it.
fn largest_pickle(file: File) -> std::io::Result<u64> {
    let mut archive = ZipArchive::new(file)?;
    let is_pickle = |name: &[u8]| name.ends_with(b"data.pkl");
    let pickles: Vec<usize> =
        (0..).zip(archive.file_names_raw()).filter(|(_, name)| is_pickle(name)).map(|(at, _)| at).collect();
    let sizes = pickles.into_iter().map(|index| Ok(archive.by_index_raw(index)?.size()));
    Ok(sizes.collect::<std::io::Result<Vec<_>>>()?.into_iter().max().unwrap_or(0))
}

/// Refuses what is neither tensor nor plain value, by its name and the keys to it. (An object that the
/// pickle makes and throws away leaves no trace, and does nothing.)
fn refuse_foreign(value: &PickleValue, keys: &mut Vec<String>, origin: &str) -> Result<()> {
    match value {
        PickleValue::Unsupported(object) if object != TENSOR && !PLAIN.contains(&object.as_str()) => {
            Err(Error::ForeignObject {
                origin: origin.to_owned(),
                key: keys.join("."),
                object: object.clone(),
            })
        }
        value => each_within(value, keys, |value, keys| refuse_foreign(value, keys, origin)),
    }
}

/// Calls a function with each value of a dictionary, ordered by keys, or of a list, and the keys to it.
fn each_within(
    value: &PickleValue,
    keys: &mut Vec<String>,
    mut function: impl FnMut(&PickleValue, &mut Vec<String>) -> Result<()>,
) -> Result<()> {
    let mut call = |key: String, value: &PickleValue| {
        keys.push(key);
        function(value, keys)?;
        keys.pop();
        Ok(())
    };
    match value {
        PickleValue::Dict(entries) => {
            let entries: BTreeMap<&String, &PickleValue> = entries.iter().collect();
            entries.into_iter().try_for_each(|(name, value)| call(name.clone(), value))
        }
        PickleValue::List(values) => {
            values.iter().enumerate().try_for_each(|(index, value)| call(index.to_string(), value))
        }
        _ => Ok(()),
    }
}

/// The names that tensors get from the keys to them.
struct Names {
    /// How many bytes they may still have.
    left: u64,
    seen: HashSet<String>,
}

impl Names {
    /// Adds those of the tensors in a value.
    ///
    /// # Errors
    /// Where they are far larger than the file together, since many have the same long keys, and where two
    /// tensors get the same.
    fn add(&mut self, value: &PickleValue, keys: &mut Vec<String>, origin: &str) -> Result<()> {
        if !matches!(value, PickleValue::Unsupported(object) if object == TENSOR) {
            return each_within(value, keys, |value, keys| self.add(value, keys, origin));
        }
        let length: u64 = keys.iter().map(|key| key.len() as u64 + 1).sum();
        self.left = self.left.checked_sub(length).ok_or_else(|| Error::NotPyTorch {
            origin: origin.to_owned(),
            reason: format!("the names of its tensors are more than {EXPANSION} times as large as the file"),
        })?;
        let name = keys.join(".");
        match self.seen.insert(name) {
            true => Ok(()),
            false => Err(Error::DuplicateTensor { origin: origin.to_owned(), tensor: keys.join(".") }),
        }
    }
}

fn has_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(entries) => entries.values().any(has_tensors),
        PickleValue::Unsupported(object) => object == TENSOR,
        _ => false,
    }
}

/// Numbers from a tensor's bytes, which the reader gives row-major in this machine's order.
fn to_f32(kind: DType, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match kind {
        DType::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|bytes| f16::from_ne_bytes(*bytes).to_f32()).collect(),
        DType::BF16 => bytes.as_chunks().0.iter().map(|bytes| bf16::from_ne_bytes(*bytes).to_f32()).collect(),
        DType::F64 => bytes.as_chunks().0.iter().map(|bytes| f64::from_ne_bytes(*bytes) as f32).collect(),
        _ => return None,
    })
}
