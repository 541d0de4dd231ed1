//! PyTorch checkpoints made by hand, also such as PyTorch would not write.

use std::io::{Cursor, Write};

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// The opcodes that put one value on the pickle machine's stack.
#[derive(Clone, Default)]
pub struct Pickle(Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn integer(self, value: i64) -> Self {
        self.op(b"\x8a\x08").op(&value.to_le_bytes())
    }

    pub fn text(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn tuple(self, items: &[Pickle]) -> Self {
        self.op(b"(").all(items).op(b"t")
    }

    pub fn list(self, items: &[Pickle]) -> Self {
        self.op(b"](").all(items).op(b"e")
    }

    pub fn dict(self, entries: &[(&str, Pickle)]) -> Self {
        self.op(b"}").entries(entries)
    }

    pub fn ordered_dict(self, entries: &[(&str, Pickle)]) -> Self {
        self.call("collections", "OrderedDict", &[]).entries(entries)
    }

    pub fn dict_of(self, entries: &[(Pickle, Pickle)]) -> Self {
        entries.iter().fold(self.op(b"}("), |pickle, (key, value)| pickle.op(&key.0).op(&value.0)).op(b"u")
    }

    pub fn call(self, module: &str, name: &str, arguments: &[Pickle]) -> Self {
        self.global(module, name).tuple(arguments).op(b"R")
    }

    /// As protocol 4 writes a call: the function's name in two texts on the stack.
    pub fn call_stacked(self, module: &str, name: &str, arguments: &[Pickle]) -> Self {
        self.text(module).text(name).op(b"\x93").tuple(arguments).op(b"R")
    }

    /// The value with a state given to it, as to an object with `__setstate__`.
    pub fn state(self, state: &Pickle) -> Self {
        self.op(&state.0).op(b"b")
    }

    /// A value is made and thrown away.
    pub fn dropping(self, value: &Pickle) -> Self {
        self.op(&value.0).op(b"0")
    }

    /// Lists, each of which holds the one before ten times.
    pub fn memo_bomb(self, levels: u8) -> Self {
        let first = self.list(&[]).op(&[b'q', 0]);
        (1..=levels).fold(first, |pickle, level| {
            let again = [b'h', level - 1].repeat(10);
            pickle.op(b"](").op(&again).op(&[b'e', b'q', level])
        })
    }

    /// A float tensor that fills storage `0`.
    pub fn tensor(shape: &[i64], length: i64) -> Self {
        Self::tensor_of("0", shape, length)
    }

    /// A float tensor that fills a storage.
    pub fn tensor_of(storage: &str, shape: &[i64], length: i64) -> Self {
        let mut stride = vec![1; shape.len()];
        for dimension in (1..shape.len()).rev() {
            stride[dimension - 1] = stride[dimension] * shape[dimension];
        }
        Self::view(storage, length, 0, shape, &stride)
    }

    /// A float tensor on a part of a storage with a declared length of `length` values.
    pub fn view(storage: &str, length: i64, offset: i64, shape: &[i64], stride: &[i64]) -> Self {
        Self::view_of("FloatStorage", storage, length, offset, shape, stride)
    }

    pub fn view_of(
        kind: &str,
        storage: &str,
        length: i64,
        offset: i64,
        shape: &[i64],
        stride: &[i64],
    ) -> Self {
        let numbers = |numbers: &[i64]| {
            let numbers: Vec<Self> = numbers.iter().map(|&number| Self::new().integer(number)).collect();
            Self::new().tuple(&numbers)
        };
        let storage = Self::new()
            .tuple(&[
                Self::new().text("storage"),
                Self::new().global("torch", kind),
                Self::new().text(storage),
                Self::new().text("cpu"),
                Self::new().integer(length),
            ])
            .op(b"Q");
        Self::new().call(
            "torch._utils",
            "_rebuild_tensor_v2",
            &[
                storage,
                Self::new().integer(offset),
                numbers(shape),
                numbers(stride),
                Self::new().op(b"\x89"),
                Self::new().call("collections", "OrderedDict", &[]),
            ],
        )
    }

    fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn all(self, items: &[Pickle]) -> Self {
        items.iter().fold(self, |pickle, item| pickle.op(&item.0))
    }

    fn entries(self, entries: &[(&str, Pickle)]) -> Self {
        entries.iter().fold(self.op(b"("), |pickle, (key, value)| pickle.text(key).op(&value.0)).op(b"u")
    }

    fn whole(&self) -> Vec<u8> {
        [b"\x80\x02", &self.0[..], b"."].concat()
    }
}

/// A file of PyTorch 0.1.10 to 1.5.
pub fn legacy(root: &Pickle, storages: &[(&str, &[f32])]) -> Vec<u8> {
    let keys: Vec<Pickle> = storages.iter().map(|(key, _)| Pickle::new().text(key)).collect();
    let magic = Pickle::new().op(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let headers = [magic, Pickle::new().integer(1001), system(), root.clone(), Pickle::new().list(&keys)];
    let mut bytes: Vec<u8> = headers.iter().flat_map(Pickle::whole).collect();
    for (_, numbers) in storages {
        bytes.extend_from_slice(&(numbers.len() as i64).to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }
    bytes
}

/// A file of PyTorch 1.6 or later, its storages compressed or, as PyTorch does it, not.
pub fn zip(root: &Pickle, storages: &[(&str, &[f32])], compressed: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let method = if compressed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let mut entry = |name: &str, method, bytes: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    };
    entry("archive/data.pkl", CompressionMethod::Stored, &root.whole());
    entry("archive/byteorder", CompressionMethod::Stored, b"little");
    entry("archive/version", CompressionMethod::Stored, b"3\n");
    for (key, numbers) in storages {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        entry(&format!("archive/data/{key}"), method, &bytes);
    }
    zip.finish().unwrap().into_inner()
}

/// A zip with a compressed pickle and nothing else.
pub fn zip_of_pickle(pickle: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("archive/data.pkl", options).unwrap();
    zip.write_all(pickle).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A file from before PyTorch 0.1.10, with float tensors that each fill a storage.
pub fn tar(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let count = Pickle::new().integer(tensors.len() as i64).whole();
    let (mut storages, mut table) = (count.clone(), count);
    let mut entries = Vec::new();
    for (index, (name, shape, numbers)) in tensors.iter().enumerate() {
        let index = index as i64;
        let key = |offset: i64| Pickle::new().integer(offset + index);
        let storage = [key(100), Pickle::new().text("cpu"), Pickle::new().global("torch", "FloatStorage")];
        storages.extend(Pickle::new().tuple(&storage).whole());
        storages.extend((numbers.len() as i64).to_le_bytes());
        storages.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let tensor = [key(200), key(100), Pickle::new().global("torch", "FloatTensor")];
        table.extend(Pickle::new().tuple(&tensor).whole());
        table.extend((shape.len() as i32).to_le_bytes());
        table.extend([0; 4]);
        table.extend(shape.iter().flat_map(|&length| (length as i64).to_le_bytes()));
        let stride = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>() as i64);
        table.extend(stride.flat_map(i64::to_le_bytes));
        table.extend([0; 8]);
        entries.push((*name, Pickle::new().text(&(200 + index).to_string()).op(b"Q")));
    }
    storages.extend(Pickle::new().list(&[]).whole());
    let mut tar = ::tar::Builder::new(Vec::new());
    let root = Pickle::new().dict(&entries).whole();
    for (name, bytes) in
        [("sys_info", system().whole()), ("pickle", root), ("tensors", table), ("storages", storages)]
    {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A tar with one entry that takes no room in the file and claims to unpack to so many zeros.
pub fn sparse_tar(name: &str, length: u64) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(::tar::EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(length);
    gnu.sparse[0].set_offset(length);
    gnu.sparse[0].set_length(0);
    header.set_cksum();
    [&header.as_bytes()[..], &[0; 1024]].concat()
}

fn system() -> Pickle {
    Pickle::new().dict(&[
        ("protocol_version", Pickle::new().integer(1001)),
        ("little_endian", Pickle::new().op(b"\x88")),
    ])
}
