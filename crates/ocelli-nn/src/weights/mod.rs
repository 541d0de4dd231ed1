//! Weights files: named tensors of a safetensors file or a PyTorch checkpoint, read into f32.

mod efficientnet;
mod pytorch;
mod safetensors;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::{Error, Result};

/// Named f32 tensors and the metadata of the file that held them.
#[derive(Debug, Clone, Default)]
pub struct TensorFile {
    origin: String,
    /// Shared by the files that are [filtered](Self::filtered) from this one.
    tensors: BTreeMap<String, Arc<NamedTensor>>,
    metadata: BTreeMap<String, String>,
    /// The types that the values had in the file, where it is safetensors.
    dtypes: BTreeMap<String, String>,
}

/// One tensor of a file, row-major.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamedTensor {
    /// The length of every dimension.
    pub shape: Vec<usize>,
    /// Its values; f16, bf16 and f64 files are converted.
    pub values: Vec<f32>,
}

/// PyTorch's counters of batches seen, which nothing here needs: PyTorch starts them at 0 where a file has
/// none.
const COUNTER: &str = "num_batches_tracked";

/// The metadata entry with the digest of all other metadata and of the tensors.
const DIGEST: &str = "ocelli-digest";

/// The entry of a file that a person has changed, whose content is not compared with a digest.
const UNSEALED: &str = "none";

/// What `DataParallel` and `torch.compile` put before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

impl TensorFile {
    /// Reads a weights file whole: safetensors, or a PyTorch checkpoint (`.pth`, `.pt`, `.bin`) of any age.
    /// What it is shows in its bytes, not in its name.
    ///
    /// Of a checkpoint that holds more than weights, those under the first of `state_dict_ema`, `model_ema`,
    /// `state_dict`, `model_state_dict` and `model` are read. A prefix `module.` or `_orig_mod.` of all names
    /// is removed, `norm.1` in a DenseNet becomes `norm1`, names of the package EfficientNet-PyTorch become timm's, and
    /// `num_batches_tracked` is left out. No pickle
    /// is executed: a checkpoint may hold tensors and plain values only.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::NotWeights`], [`Error::NotSafetensors`], [`Error::NotPyTorch`],
    /// [`Error::ForeignObject`], [`Error::TensorType`], [`Error::DuplicateTensor`] and [`Error::Damaged`]; each
    /// names the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |source| Error::Read { path: path.to_path_buf(), source };
        let mut start = Vec::new();
        let longest = pytorch::START.max(safetensors::START) as u64;
        // A device may have no end, and opening a pipe waits until somebody writes to it.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            let kind = if path.is_dir() { "it is a folder" } else { "it is no file" };
            let found = std::io::Error::new(std::io::ErrorKind::InvalidInput, kind);
            return Err(failed(found));
        }
        File::open(path).and_then(|file| file.take(longest).read_to_end(&mut start)).map_err(failed)?;
        let named_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
        if named_safetensors || safetensors::begins(&start) {
            // A file that only has the name may be of any size: its beginning says what is wrong with it.
            let mut bytes = Vec::new();
            let mut file = File::open(path).map_err(failed)?;
            match safetensors::begins(&start) {
                true => file.read_to_end(&mut bytes),
                false => file.take(1 << 20).read_to_end(&mut bytes),
            }
            .map_err(failed)?;
            Self::parse(&bytes, &path.display().to_string())
        } else if pytorch::begins(&start) {
            pytorch::read(path)?.with_canonical_names()
        } else {
            let begins = String::from_utf8_lossy(&start[..start.len().min(16)]).into_owned();
            Err(Error::NotWeights { path: path.to_path_buf(), begins })
        }
    }

    /// Reads the bytes of a safetensors file; `origin` names them in errors.
    ///
    /// # Errors
    /// [`Error::NotSafetensors`], [`Error::TensorType`], [`Error::DuplicateTensor`], and [`Error::Damaged`]
    /// where the content is not that of the digest in the file.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Self> {
        safetensors::parse(bytes, origin)?.with_canonical_names()
    }

    /// An empty file, to be filled; `origin` names it in errors.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Adds or replaces a tensor.
    ///
    /// # Panics
    /// Where the number of values is not the product of the shape.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a tensor's values fill its shape");
        self.tensors.insert(name.into(), Arc::new(NamedTensor { shape, values }));
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name).map(|tensor| &**tensor)
    }

    /// The type that a tensor's values have in a safetensors file, such as F32 or BF16; `None` in other files.
    pub fn dtype(&self, name: &str) -> Option<&str> {
        self.dtypes.get(name).map(String::as_str)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// An entry of the metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The digest of the content that the file itself holds; it was compared with the content when the file
    /// was read. `none` where a person has changed the file and says so; nothing where the file says nothing.
    pub fn digest(&self) -> Option<&str> {
        self.metadata(DIGEST)
    }

    /// Where the tensors came from: a path, or the name of embedded weights.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tensors whose names `select` accepts.
    pub fn filtered(&self, select: impl Fn(&str) -> bool) -> Self {
        let mut filtered = self.clone();
        filtered.tensors.retain(|name, _| select(name));
        filtered
    }

    /// The bytes of a safetensors file with these tensors in f32, one entry of metadata, and another,
    /// `ocelli-digest`, with the BLAKE3 hash of all that. The same tensors give the same bytes.
    pub fn to_bytes(&self, key: &str, text: &str) -> Vec<u8> {
        self.to_bytes_and_digest(key, text).0
    }

    /// As [`to_bytes`](Self::to_bytes), with the digest that the bytes contain.
    pub fn to_bytes_and_digest(&self, key: &str, text: &str) -> (Vec<u8>, String) {
        safetensors::to_bytes(&self.tensors, BTreeMap::from([(key.to_owned(), text.to_owned())]))
    }

    /// With wrappers' prefixes removed, and old names replaced by current ones.
    fn with_canonical_names(self) -> Result<Self> {
        // Where the names begin: a file may repeat a prefix very often, so names are copied once.
        let mut start = 0;
        let common = |start: usize| {
            let begins_all =
                |prefix: &&str| self.tensors.keys().all(|name| name[start..].starts_with(*prefix));
            WRAPPERS.into_iter().find(|prefix| !self.tensors.is_empty() && begins_all(prefix))
        };
        while let Some(prefix) = common(start) {
            start += prefix.len();
        }
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors {
            match tensors.entry(current_name(&name[start..])) {
                Entry::Vacant(entry) => entry.insert(tensor),
                Entry::Occupied(entry) => {
                    return Err(Error::DuplicateTensor { origin: self.origin, tensor: entry.key().clone() });
                }
            };
        }
        // These are of the same names.
        let dtypes = self.dtypes.into_iter().map(|(name, dtype)| (current_name(&name[start..]), dtype));
        let renamed = efficientnet::timm_names(&tensors);
        let name_of = |name: String| renamed.get(&name).cloned().unwrap_or(name);
        let dtypes = dtypes.map(|(name, dtype)| (name_of(name), dtype)).collect();
        let tensors = tensors.into_iter().map(|(name, tensor)| (name_of(name), tensor)).collect();
        Ok(Self { tensors, dtypes, ..self })
    }
}

/// The parts of DenseNet's layers have a dot before their number in torchvision's files, which are older than
/// its names.
fn current_name(name: &str) -> String {
    const OLD: [&str; 4] = ["norm.1.", "norm.2.", "conv.1.", "conv.2."];
    match name.find(".denselayer") {
        Some(layer) => OLD.into_iter().fold(name.to_owned(), |name, old| {
            let (before, after) = name.split_at(layer);
            before.to_owned()
                + &after.replacen(&format!(".{old}"), &format!(".{}", old.replacen('.', "", 1)), 1)
        }),
        None => name.to_owned(),
    }
}

/// Whether a tensor of that name is one of the counters.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}
