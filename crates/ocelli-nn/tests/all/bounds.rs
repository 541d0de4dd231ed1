//! What a weights file claims is bounded before it costs memory, and weights are read from files alone.

use std::io::Write;
use std::path::Path;

use ocelli_nn::TensorFile;

fn refusal(bytes: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    TensorFile::read(file.path()).expect_err("a refusal").to_string()
}

fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn the_header_of_a_safetensors_file_is_bounded() {
    // A text of 33 MB; what it says does not matter.
    let header = format!("{{\"__metadata__\":{{\"text\":\"{}\"}}}}", "x".repeat(33 << 20));
    let said = refusal(&safetensors(&header));
    assert!(said.contains("bytes of names and shapes, more than the limit of 33554432"), "{said}");

    let tensors = |count: usize| {
        let tensor =
            |number| format!("\"{number}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        format!("{{{}}}", (0..count).map(tensor).collect::<Vec<_>>().join(","))
    };
    let said = refusal(&safetensors(&tensors(100_001)));
    assert!(said.contains("100001 tensors, more than the limit of 100000"), "{said}");
    assert!(TensorFile::parse(&safetensors(&tensors(1000)), "many").is_ok());
}

#[test]
fn the_entries_of_a_zip_are_bounded() {
    // Only the record at the end, with and without the extension that counts above 65,535.
    let mut record_64 = b"PK\x03\x04 and so on PK\x06\x06".to_vec();
    record_64.extend([0; 28]);
    record_64.extend(5_000_000u64.to_le_bytes());
    record_64.extend([0; 16]);
    record_64.extend(b"PK\x05\x06\0\0\0\0\xFF\xFF\xFF\xFF");
    record_64.extend([0; 10]);
    let said = refusal(&record_64);
    assert!(said.contains("5000000 entries, more than the limit of 100000"), "{said}");
}

#[cfg(unix)]
#[test]
fn weights_are_read_from_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.safetensors");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let zeros = folder.path().join("zeros.safetensors");
    std::os::unix::fs::symlink("/dev/zero", &zeros).unwrap();
    for path in [Path::new("/dev/zero"), &pipe, &zeros, folder.path()] {
        let said = TensorFile::read(path).expect_err("a refusal").to_string();
        assert!(
            (said.contains("no file") || said.contains("a folder"))
                && said.contains(&path.display().to_string()),
            "{said}"
        );
    }
}
