//! Weights files of every kind: PyTorch's own, hand-made ones, damaged and hostile ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::values;
use crate::pickles::{Pickle, legacy, tar, zip};
use burn::tensor::Device;
use half::{bf16, f16};
use ocelli_nn::{Arch, Error, TensorFile};
use proptest::prelude::*;

/// The golden files, with the names and shapes that their README gives.
fn fixtures() -> Option<PathBuf> {
    crate::common::fixtures("pth")
}

const TENSORS: [(&str, &[usize]); 7] = [
    ("conv1.weight", &[4, 3, 3, 3]),
    ("bn1.weight", &[4]),
    ("bn1.bias", &[4]),
    ("bn1.running_mean", &[4]),
    ("bn1.running_var", &[4]),
    ("fc.weight", &[5, 4]),
    ("fc.bias", &[5]),
];

/// The file's bytes under a name of its own, since files are read by their path.
fn written(bytes: &[u8]) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file.into_temp_path()
}

fn read(bytes: &[u8]) -> Result<TensorFile, Error> {
    TensorFile::read(written(bytes))
}

/// The error message for bytes that are refused.
fn refusal(bytes: &[u8]) -> String {
    read(bytes).expect_err("a refusal").to_string()
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

#[test]
fn files_of_every_age_and_precision_hold_the_same_tensors() {
    let Some(folder) = fixtures() else { return };
    type Rounding = fn(f32) -> f32;
    let rounded: [(&str, Rounding); 5] = [
        ("zip.pth", |x| x),
        ("legacy.pth", |x| x),
        ("checkpoint_dataparallel.pth", |x| x),
        ("half.pth", |x| f16::from_f32(x).to_f32()),
        ("bfloat16.pth", |x| bf16::from_f32(x).to_f32()),
    ];
    for (name, rounded) in rounded {
        let file = TensorFile::read(folder.join(name)).unwrap();
        let mut wanted: Vec<&str> = TENSORS.iter().map(|(name, _)| *name).collect();
        wanted.sort_unstable();
        assert_eq!(file.names().collect::<Vec<_>>(), wanted, "{name}: all but the counter");
        for (tensor, shape) in TENSORS {
            let found = file.get(tensor).unwrap();
            let wanted: Vec<f32> = values(tensor, shape).into_iter().map(rounded).collect();
            assert_eq!((&found.shape[..], &found.values), (shape, &wanted), "{name}: {tensor}");
        }
    }
}

#[test]
fn views_of_one_storage_are_read_by_their_strides() {
    let Some(folder) = fixtures() else { return };
    let file = TensorFile::read(folder.join("strided_views.pth")).unwrap();
    let big = values("big", &[8, 6]);
    let at = |row: usize, column: usize| big[row * 6 + column];
    let tensor = |name: &str| file.get(name).unwrap().clone();
    let (transposed, view, shared) = (tensor("transposed"), tensor("view"), tensor("shared"));
    assert_eq!((transposed.shape, view.shape, shared.shape), (vec![6, 8], vec![3, 3], vec![8, 6]));
    let wanted: Vec<f32> = (0..6).flat_map(|column| (0..8).map(move |row| at(row, column))).collect();
    assert_eq!(transposed.values, wanted);
    let wanted: Vec<f32> = (2..5).flat_map(|row| (1..4).map(move |column| at(row, column))).collect();
    assert_eq!(view.values, wanted);
    assert_eq!(shared.values, big);
}

#[test]
fn hostile_and_broken_files_are_refused_with_their_name_and_the_reason() {
    let Some(folder) = fixtures() else { return };
    let refused = |name: &str, parts: &[&str]| {
        let said = TensorFile::read(folder.join(name)).unwrap_err().to_string();
        assert_says(&said, &[name]);
        assert_says(&said, parts);
    };
    refused("hostile_reduce.pth", &["\"x\" needs posix.system to be run", "no code is run from files"]);
    refused("truncated.pth", &["not a complete PyTorch checkpoint", "download it again"]);
    refused("storage_too_short.pth", &["conv1.weight", "108", "2"]);
    refused("not_a_checkpoint.pth", &["neither a safetensors file nor a PyTorch checkpoint", "<html>404"]);
    assert!(!Path::new("pwned_by_pickle").exists());
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let Some(folder) = fixtures() else { return };
    for name in ["zip.pth", "legacy.pth"] {
        let bytes = fs::read(folder.join(name)).unwrap();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{name}: {length} of {} bytes", bytes.len());
        }
    }
    let tar = tar(&[("a", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    let content = tar.len() - 1024; // two empty blocks end it
    for length in 0..content - 512 {
        assert!(read(&tar[..length]).is_err(), "tar: {length} of {content} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes are changed: tensors or a refusal, never a panic or gigabytes.
    #[test]
    fn damaged_files_do_no_harm(
        which in 0usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut bytes = match which {
            0 => legacy(&Pickle::new().dict(&[("a", Pickle::tensor(&[2, 3], 6))]), &[("0", &numbers)]),
            1 => tar(&[("a", &[2, 3], &numbers)]),
            _ => zip(&Pickle::new().dict(&[("a", Pickle::tensor(&[2, 3], 6))]), &[("0", &numbers)], false),
        };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(file) = read(&bytes) {
            let length: usize = file.names().map(|name| file.get(name).unwrap().values.len()).sum();
            prop_assert!(length <= 16 * bytes.len());
        }
    }
}

#[test]
fn the_tar_of_the_oldest_files_is_read() {
    let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let file = read(&tar(&[("a.weight", &[2, 3], &numbers), ("a.bias", &[1], &[7.0])])).unwrap();
    assert_eq!(file.get("a.weight").unwrap().shape, [2, 3]);
    assert_eq!(file.get("a.weight").unwrap().values, numbers);
    assert_eq!(file.get("a.bias").unwrap().values, [7.0]);
}

#[test]
fn weights_are_found_in_a_checkpoint_and_freed_of_wrappers() {
    let state = |names: &[&str], value: &str| {
        let entries: Vec<_> = names.iter().map(|name| (*name, Pickle::tensor_of(value, &[1], 1))).collect();
        Pickle::new().dict(&entries)
    };
    let names_and_first = |root: &Pickle| {
        let storages: [(&str, &[f32]); 2] = [("plain", &[1.0]), ("averaged", &[2.0])];
        let file = read(&zip(root, &storages, false)).unwrap();
        let names: Vec<String> = file.names().map(str::to_owned).collect();
        let first = file.get(&names[0]).unwrap().values[0];
        (names, first)
    };
    let plain = state(&["a", "b"], "plain");
    let averaged = state(&["a", "b"], "averaged");
    let epoch = Pickle::new().integer(3);
    let wanted = (vec!["a".to_owned(), "b".to_owned()], 1.0);
    assert_eq!(names_and_first(&plain), wanted);
    for key in ["state_dict", "model", "model_state_dict"] {
        let root = Pickle::new().dict(&[
            ("epoch", epoch.clone()),
            (key, plain.clone()),
            ("optimizer", averaged.clone()),
        ]);
        assert_eq!(names_and_first(&root), wanted, "{key}");
    }
    let root = Pickle::new().dict(&[("state_dict", plain.clone()), ("state_dict_ema", averaged)]);
    assert_eq!(names_and_first(&root), (wanted.0.clone(), 2.0), "averaged weights are preferred");
    let wrapped = state(
        &["module._orig_mod.a", "module._orig_mod.b", "module._orig_mod.n.num_batches_tracked"],
        "plain",
    );
    assert_eq!(names_and_first(&wrapped), wanted);
    let part_of_a_name = state(&["module.a", "other"], "plain");
    assert_eq!(names_and_first(&part_of_a_name).0, ["module.a", "other"]);
    // `model` may be a part of the network's own names, or a word.
    let root = Pickle::new()
        .dict(&[("model", Pickle::new().text("resnet34")), ("a", Pickle::tensor_of("plain", &[1], 1))]);
    assert_eq!(names_and_first(&root).0, ["a"]);
}

#[test]
fn names_of_torchvision_s_old_densenet_files_are_todays() {
    let one = || Pickle::tensor(&[1], 1);
    let root = Pickle::new().dict(&[
        ("features.denseblock1.denselayer12.norm.1.running_var", one()),
        ("features.denseblock1.denselayer12.conv.2.weight", one()),
        ("features.transition1.norm.weight", one()),
        ("other.norm.1.weight", one()),
    ]);
    let file = read(&zip(&root, &[("0", &[1.0])], false)).unwrap();
    let wanted = [
        "features.denseblock1.denselayer12.conv2.weight",
        "features.denseblock1.denselayer12.norm1.running_var",
        "features.transition1.norm.weight",
        "other.norm.1.weight",
    ];
    assert_eq!(file.names().collect::<Vec<_>>(), wanted);
}

#[test]
fn python_objects_are_refused_by_name_wherever_they_stand() {
    let weights = ("w", Pickle::tensor(&[1], 1));
    let call = || Pickle::new().call("posix", "system", &[Pickle::new().text("touch pwned")]);
    let cases: [(&str, Pickle); 7] = [
        ("a call", call()),
        (
            "a call by protocol 4",
            Pickle::new().call_stacked("posix", "system", &[Pickle::new().text("touch pwned")]),
        ),
        ("a function", Pickle::new().global("posix", "system")),
        ("in a list", Pickle::new().list(&[Pickle::new().integer(1), call()])),
        ("in a dict", Pickle::new().dict(&[("y", call())])),
        ("given state", call().state(&Pickle::new().dict(&[]))),
        ("in an ordered dict", Pickle::new().ordered_dict(&[("y", call())])),
    ];
    for (what, object) in cases {
        let said = refusal(&legacy(&Pickle::new().dict(&[weights.clone(), ("x", object)]), &[("0", &[1.0])]));
        assert!(said.contains("\"x") && said.contains("needs posix.system to be run"), "{what}: {said}");
    }
    let key = Pickle::new().dict_of(&[(call(), Pickle::new().integer(1))]);
    assert_says(&refusal(&legacy(&key, &[])), &["dict key"]);
    assert_says(&refusal(&legacy(&call(), &[])), &["posix.system"]);
    let namespace =
        Pickle::new().dict(&[weights, ("args", Pickle::new().call("argparse", "Namespace", &[]))]);
    assert_says(
        &refusal(&legacy(&namespace, &[("0", &[1.0])])),
        &["\"args\"", "argparse.Namespace", "torch.save"],
    );
    // What is thrown away again leaves no trace in the data, and none on the disk.
    let dropped = Pickle::new().dropping(&call()).dict(&[("w", Pickle::tensor(&[1], 1))]);
    assert_eq!(read(&legacy(&dropped, &[("0", &[4.0])])).unwrap().get("w").unwrap().values, [4.0]);
    assert!(!Path::new("pwned").exists());
}

#[test]
fn plain_values_beside_the_weights_do_not_matter() {
    let device = Pickle::new().call("torch", "device", &[Pickle::new().text("cpu")]);
    let root = Pickle::new().dict(&[
        ("state_dict", Pickle::new().dict(&[("w", Pickle::tensor(&[1], 1))])),
        ("device", device),
        ("type", Pickle::new().global("torch", "float32")),
        ("list", Pickle::new().list(&[Pickle::new().integer(-1), Pickle::new().text("é")])),
    ]);
    assert_eq!(read(&legacy(&root, &[("0", &[4.0])])).unwrap().get("w").unwrap().values, [4.0]);
}

#[test]
fn tensors_that_reach_out_of_their_storage_are_refused() {
    let numbers = [1.0, 2.0, 3.0, 4.0];
    let said = |shape: &[i64], stride: &[i64], offset: i64| {
        let root = Pickle::new().dict(&[("w", Pickle::view("0", 4, offset, shape, stride))]);
        refusal(&legacy(&root, &[("0", &numbers)]))
    };
    for (shape, stride, offset) in [
        (&[5][..], &[1][..], 0),
        (&[4], &[1], 1),
        (&[2, 2], &[3, 1], 0),
        (&[1], &[1], i64::MAX),
        (&[1], &[1], -1),
        (&[2], &[-1], 3),
        (&[-1], &[1], 0),
        (&[1 << 40, 1 << 40], &[0, 0], 0),
        (&[i64::MAX, 2], &[1, 1], 0),
        (&[2], &[i64::MAX], 0),
        (&[2, 2], &[1], 0),
    ] {
        assert_says(&said(shape, stride, offset), &["not a complete PyTorch checkpoint"]);
    }
    // One value, with a declared length of a billion.
    assert_says(&said(&[1 << 30], &[0], 0), &["times as large as the file"]);
    // A storage that is announced longer than it is.
    let root = Pickle::new().dict(&[("w", Pickle::tensor(&[100], 100))]);
    refusal(&legacy(&root, &[("0", &numbers)]));
    refusal(&zip(&root, &[("0", &numbers)], false));
}

#[test]
fn bombs_are_refused_before_they_take_memory() {
    let zeros = vec![0.0; 4 << 20];
    let length = zeros.len() as i64;
    let packed = zip(
        &Pickle::new().dict(&[("w", Pickle::view("0", length, 0, &[length], &[1]))]),
        &[("0", &zeros)],
        true,
    );
    assert!(packed.len() < 100_000, "16 MB packed to {}", packed.len());
    assert_says(&refusal(&packed), &["times as large as the file"]);
    // Two values at the ends of a storage that unpacks to 16 MB.
    let ends = Pickle::new().dict(&[("w", Pickle::view("0", length, 0, &[2], &[length - 1]))]);
    assert_says(&refusal(&zip(&ends, &[("0", &zeros)], true)), &["times as large as the file"]);

    let sparse = crate::pickles::sparse_tar("storages", 7 << 30);
    assert_says(&refusal(&sparse), &["claims 7516192768 bytes"]);

    let mut nested = Pickle::new().integer(1);
    for _ in 0..5000 {
        nested = Pickle::new().list(&[nested]);
    }
    assert_says(&refusal(&legacy(&nested, &[])), &["nesting"]);

    // Each list holds the one before ten times over: 10^20 in all.
    assert_says(&refusal(&legacy(&Pickle::new().memo_bomb(20), &[])), &["memo bomb"]);

    // 1,000 tensors below a key of 100 kB have names of 100 MB.
    let tensors: Vec<_> = (0..1000).map(|_| Pickle::tensor(&[1], 1)).collect();
    let long = Pickle::new().dict(&[(&*"k".repeat(100_000), Pickle::new().list(&tensors))]);
    assert_says(&refusal(&zip(&long, &[("0", &[1.0])], false)), &["names of its tensors", "times as large"]);

    // Text of a pickle takes many times its size in memory, and next to none in a zip.
    let packed = crate::pickles::zip_of_pickle(&[b"\x80\x02", &b"N".repeat(33 << 20)[..], b"."].concat());
    assert!(packed.len() < 100_000, "33 MB packed to {}", packed.len());
    assert_says(&refusal(&packed), &["its pickle has 34603011 bytes"]);
}

#[test]
fn no_tensor_takes_the_name_of_another() {
    let one = || Pickle::tensor(&[1], 1);
    let nested = Pickle::new().dict(&[("a", Pickle::new().dict(&[("b", one())])), ("a.b", one())]);
    let listed = Pickle::new().dict(&[("a", Pickle::new().list(&[one(), one()])), ("a.1", one())]);
    let renamed =
        Pickle::new().dict(&[("x.denselayer1.norm.1.bias", one()), ("x.denselayer1.norm1.bias", one())]);
    for (root, name) in [(nested, "a.b"), (listed, "a.1"), (renamed, "x.denselayer1.norm1.bias")] {
        let state = Pickle::new().dict(&[("state_dict", root.clone()), ("a.b", one())]);
        for root in [root, state] {
            let said = refusal(&zip(&root, &[("0", &[1.0])], false));
            assert_says(&said, &["two of its tensors are named", name]);
        }
    }
    // The other tensors of a checkpoint have names of their own.
    let inner = Pickle::new().dict(&[("w", one())]);
    let root = Pickle::new().dict(&[("state_dict", inner), ("w", one()), ("state_dict.w", one())]);
    assert_eq!(read(&zip(&root, &[("0", &[4.0])], false)).unwrap().names().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn a_zip_that_lies_about_sizes_is_refused() {
    let numbers = [1.0, 2.0, 3.0, 4.0];
    let root = Pickle::new().dict(&[("w", Pickle::tensor(&[4], 4))]);
    let good = zip(&root, &[("0", &numbers)], false);
    assert_eq!(read(&good).unwrap().get("w").unwrap().values, numbers);
    // The sizes stand in the central directory: 20 and 24 bytes after its entries' signature.
    let signature = b"PK\x01\x02";
    let entries: Vec<usize> =
        (0..good.len() - 4).filter(|&place| good[place..].starts_with(signature)).collect();
    for size in [0u32, 15, 1 << 20, u32::MAX - 1] {
        let mut bytes = good.clone();
        let entry = *entries.last().unwrap();
        bytes[entry + 20..entry + 24].copy_from_slice(&size.to_le_bytes());
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        assert!(read(&bytes).is_err(), "{size} bytes instead of 16");
    }
}

#[test]
fn safetensors_lose_counters_and_wrappers_too() {
    let header = br#"{"module.bn.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"module.bn.bias":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&f16::from_f32(0.5).to_le_bytes());
    let file = read(&bytes).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["bn.bias"]);
    assert_eq!(file.get("bn.bias").unwrap().values, [0.5]);
    for length in 9..bytes.len() {
        assert_says(&refusal(&bytes[..length]), &["not a complete safetensors file"]);
    }

    // A prefix is removed however often it stands there, without a copy of the name for each time.
    let mut wrapped = TensorFile::new("here");
    wrapped.insert("module.".repeat(200_000) + "w", vec![1], vec![0.5]);
    assert_eq!(read(&wrapped.to_bytes("key", "")).unwrap().names().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn integers_are_no_weights() {
    let root = Pickle::new().dict(&[("w", Pickle::view_of("LongStorage", "0", 2, 0, &[2], &[1]))]);
    assert_says(&refusal(&zip(&root, &[("0", &[0.0; 4])], false)), &["tensor w holds I64", "f32"]);
    assert_says(&refusal(&legacy(&Pickle::new().dict(&[]), &[])), &["holds no tensors"]);
}

#[test]
fn the_weights_of_another_network_are_listed_the_first_of_each_kind() {
    let arch = Arch::EfficientNetLite0;
    let embedded = TensorFile::parse(ocelli_lite0::WEIGHTS, "the built-in weights").unwrap();
    let mut other = TensorFile::new("other.safetensors");
    let mut renamed = BTreeMap::new();
    for name in embedded.names() {
        let tensor = embedded.get(name).unwrap().clone();
        match name {
            "conv_stem.weight" => other.insert(name, vec![32, 1, 3, 3], vec![0.0; 32 * 9]),
            name if name.starts_with("blocks.6") => {
                renamed.insert(name.replace("blocks.6", "blocks.7"), tensor);
            }
            _ => other.insert(name, tensor.shape, tensor.values),
        }
    }
    let count = renamed.len();
    for (name, tensor) in renamed {
        other.insert(name, tensor.shape, tensor.values);
    }
    let said = arch.published(&other, 1000, &Device::flex()).unwrap_err().to_string();
    let more = format!("and {} more", count - 3);
    assert_says(
        &said,
        &[
            "other.safetensors: these are not the weights of efficientnet_lite0",
            "missing: blocks.6.0.",
            "conv_stem.weight is [32, 1, 3, 3], expected [32, 3, 3, 3]",
            "not part of the network: blocks.7.0.",
            &more,
        ],
    );
    assert_eq!(said.matches(&more).count(), 2, "{said}");
    assert!(said.len() < 500, "{said}");
}
