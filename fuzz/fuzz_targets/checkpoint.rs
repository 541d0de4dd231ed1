//! A checkpoint that a run is resumed from: its bytes, or, behind an even first byte, its header's text in a file that is
//! otherwise whole. Behind the first line break is the run's config.toml.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocelli::{Moved, Run, RunEnv, TensorFile};

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let run = ocelli_fuzz::folder().join("run");
    let checkpoints = run.join("checkpoints");
    std::fs::create_dir_all(&checkpoints).unwrap();
    let (config, bytes) = match choice & 2 {
        0 => (&b"[settings]\ndata = \"/nowhere\"\n"[..], bytes),
        _ => bytes.split_at(bytes.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 1)),
    };
    let content = match (choice & 1, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => {
            let mut tensors = TensorFile::new("fuzz");
            tensors.insert("network.classifier.bias", vec![2], vec![0.5; 2]);
            tensors.to_bytes("ocelli-checkpoint", text)
        }
        _ => bytes.to_vec(),
    };
    std::fs::write(run.join("config.toml"), config).unwrap();
    std::fs::write(checkpoints.join("checkpoint-000001.safetensors"), content).unwrap();
    let resumed = Run::resume(&run, &RunEnv { threads: 1, ..RunEnv::default() }, &Moved::default());
    // The photos are nowhere.
    assert!(resumed.is_err());
});
