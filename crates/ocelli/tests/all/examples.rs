//! The examples run to their end on the sample pictures. `custom_backbone` would take long; the tests of `ocelli-report`
//! train its networks.

use std::path::PathBuf;
use std::process::Command;

/// An example as `cargo test` has built it, beside this test's own folder.
fn example(name: &str) -> Option<PathBuf> {
    let folder = std::env::current_exe().unwrap().parent()?.parent()?.join("examples");
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    path.is_file().then_some(path)
}

/// What an example has printed; nothing where it is not built, as in a run of this test alone.
fn output(name: &str) -> Option<String> {
    let Some(path) = example(name) else {
        println!("skipped: the example {name} is not built; `cargo test` without --test builds it");
        return None;
    };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new(path).current_dir(root).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}{errors}", output.status);
    Some(out)
}

#[test]
fn each_example_says_what_it_has_come_to() {
    let examples = [
        ("quickstart", "flags/de.png is predicted as"),
        ("labels_table", "avocado.png: "),
        ("resume", "the same weights as without the interruption: true"),
        ("predict_bytes", "refused: "),
        ("own_augmentation", "epoch 4: accuracy"),
        ("own_loss", "epoch 4: train loss"),
        ("own_metric", "95 % interval"),
    ];
    for (name, last) in examples {
        if let Some(text) = output(name) {
            assert!(text.contains(last), "{name}: {text}");
        }
    }
}
