//! `ocelli train --tensorboard`: the event file holds what history.csv says, each epoch once. That TensorBoard reads it is
//! shown by `read_tensorboard.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::common::{Place, two_phases};

const FILE: &str = "run/events.out.tfevents.ocelli";

/// A field of a message: its number, and its value.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, Value::Number(varint(&mut message))));
                continue;
            }
            1 => 8,
            2 => varint(&mut message) as usize,
            5 => 4,
            kind => panic!("a field of kind {kind}"),
        };
        let (bytes, rest) = message.split_at(length);
        message = rest;
        fields.push((key >> 3, Value::Bytes(bytes)));
    }
    fields
}

fn bytes_of(message: &[u8], field: u64) -> Option<&[u8]> {
    fields(message).into_iter().find_map(|(number, value)| match value {
        Value::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    })
}

/// The steps of a file's records, each with its scalars, and with the tags of all that is no scalar.
fn records(mut file: &[u8]) -> Vec<(u64, BTreeMap<String, f32>, Vec<String>)> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let message = &file[12..12 + length];
        file = &file[16 + length..];
        let step = fields(message).iter().find_map(|(number, value)| match value {
            Value::Number(step) if *number == 2 => Some(*step),
            _ => None,
        });
        let (mut scalars, mut others) = (BTreeMap::new(), Vec::new());
        for (_, value) in fields(bytes_of(message, 5).unwrap_or_default()) {
            let Value::Bytes(value) = value else { panic!("a number in a summary") };
            let tag = String::from_utf8(bytes_of(value, 1).unwrap().to_vec()).unwrap();
            match bytes_of(value, 2) {
                Some(scalar) => {
                    scalars.insert(tag, f32::from_le_bytes(scalar.try_into().unwrap()));
                }
                None => others.push(tag),
            }
        }
        records.push((step.unwrap(), scalars, others));
    }
    records
}

/// Checks that the event file says what the history says.
fn assert_is_of_history(place: &Place) {
    let records = records(&fs::read(place.path(FILE)).unwrap());
    let history = place.read("run/history.csv");
    let mut lines = history.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let rows: Vec<_> = lines.collect();
    let steps: Vec<u64> = records.iter().map(|(step, ..)| *step).collect();
    let last = rows.len() as u64;
    let expected: Vec<u64> = [0].into_iter().chain(0..=last).chain([last]).collect();
    assert_eq!(steps, expected, "the version, the configuration, each epoch once, the confusion matrix");
    assert_eq!(records[1].2, ["config"]);
    assert_eq!(records.last().unwrap().2, ["confusion matrix"]);
    for (row, (_, scalars, _)) in rows.iter().zip(&records[2..]) {
        for (tag, column) in [
            ("loss/train", "train_loss"),
            ("loss/valid", "valid_loss"),
            ("metric/accuracy", "accuracy"),
            ("learning_rate/early", "learning_rate_early"),
            ("learning_rate/head", "learning_rate_head"),
            ("epoch/phase", "phase"),
        ] {
            let at = header.iter().position(|name| *name == column).unwrap();
            let value: f64 = row[at].parse().unwrap();
            assert_eq!(scalars[tag], value as f32, "{tag}");
        }
    }
}

#[test]
fn each_epoch_is_there_once_also_where_the_run_was_resumed() {
    let place = Place::with_photos(8);
    place.run(&two_phases("2", &["--out", "run", "--tensorboard"]));
    assert_is_of_history(&place);
    let whole = fs::read(place.path(FILE)).unwrap();
    assert!(String::from_utf8_lossy(&whole).contains("    version = "), "the configuration, as code");

    // As if it had ended just before the last file, and once before the last checkpoint as well.
    for newest in [false, true] {
        fs::remove_file(place.path("run/checksums.b3")).unwrap();
        if newest {
            let files =
                fs::read_dir(place.path("run/checkpoints")).unwrap().map(|entry| entry.unwrap().path());
            // Their names are numbered.
            let is_checkpoint = |path: &PathBuf| path.to_string_lossy().contains("/checkpoint-");
            fs::remove_file(files.filter(is_checkpoint).max().unwrap()).unwrap();
        }
        place.run(&["train", "--resume", "run"]);
        assert_is_of_history(&place);
    }
    // A file that was cut off or damaged is mended.
    fs::remove_file(place.path("run/checksums.b3")).unwrap();
    fs::write(place.path(FILE), &whole[..whole.len() / 3]).unwrap();
    place.run(&["train", "--resume", "run"]);
    assert_is_of_history(&place);
    // Without the flag there is none; a run that is resumed with it gets one with all its epochs.
    place.run(&two_phases("2", &["--out", "other"]));
    fs::rename(place.path("run"), place.path("before")).unwrap();
    fs::rename(place.path("other"), place.path("run")).unwrap();
    assert!(!place.path(FILE).exists());
    fs::remove_file(place.path("run/checksums.b3")).unwrap();
    place.run(&["train", "--resume", "run", "--tensorboard"]);
    assert_is_of_history(&place);
}
