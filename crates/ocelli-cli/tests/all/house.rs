//! What CONTRIBUTING.md and the crates' docs say of crates and files is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every crate's folder and manifest, by name.
fn manifests() -> BTreeMap<String, (PathBuf, Table)> {
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let manifests = folders.filter(|folder| folder.join("Cargo.toml").is_file()).map(|folder| {
        let manifest: Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        (manifest["package"]["name"].as_str().unwrap().to_owned(), (folder, manifest))
    });
    manifests.collect()
}

/// The crates of this workspace that a crate is built from; what its tests use does not count.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let own = manifest.get("dependencies").into_iter();
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = own.chain(targets.filter_map(|target| target.get("dependencies")));
    let names = tables.filter_map(Value::as_table).flat_map(Table::keys);
    names.filter(|name| name.starts_with("ocelli")).cloned().collect()
}

/// The lines of the table in CONTRIBUTING.md: a crate, and whom it knows.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ocelli").zip(line.split_once("knows: ")));
    let rows = lines.map(|(after, (_, known))| {
        let name = format!(
            "ocelli{}",
            after.split_whitespace().next().filter(|_| after.starts_with('-')).unwrap_or_default()
        );
        let crates = known.split(", ").map(str::trim).filter(|known| *known != "nothing");
        let full = |known: &str| if known == "ocelli" { known.to_owned() } else { format!("ocelli-{known}") };
        (name, crates.map(full).collect())
    });
    rows.collect()
}

#[test]
fn the_table_of_crates_is_what_the_manifests_say() {
    let found: BTreeMap<String, BTreeSet<String>> =
        manifests().into_iter().map(|(name, (_, manifest))| (name, dependencies(&manifest))).collect();
    assert!(found.len() >= 9, "{found:?}");
    assert_eq!(table(), found, "left: CONTRIBUTING.md; right: the manifests");
}

/// A registry shows these, and search goes by them.
#[test]
fn every_crate_says_what_a_registry_asks_for() {
    for (name, (folder, manifest)) in manifests() {
        let package = manifest["package"].as_table().unwrap();
        for field in ["description", "repository", "keywords", "categories", "readme", "license"] {
            assert!(package.contains_key(field), "{name} has no {field}");
        }
        let keywords = package["keywords"].as_array().unwrap();
        assert!((1..=5).contains(&keywords.len()), "{name}: a registry takes one to five keywords");
        let short = |word: &Value| word.as_str().is_some_and(|word| word.len() <= 20);
        assert!(keywords.iter().all(short), "{name}: keywords have at most 20 letters");
        assert!(package["metadata"].get("docs").is_some(), "{name} does not say how its docs are built");
        let readme = fs::read_to_string(folder.join(package["readme"].as_str().unwrap())).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")), "{name}: its README is of something else");
    }
}

/// The names of all crates that a crate with these features alone is built from, by `cargo tree`; nothing where that cannot
/// run.
fn tree(name: &str, features: &str) -> Option<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", name])
        .args(["--no-default-features", "--features", features])
        .current_dir(root())
        .output();
    let reason = match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).unwrap();
            let names = text.lines().filter_map(|line| line.split_whitespace().next());
            return Some(names.map(str::to_owned).collect());
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("skipped: cargo tree cannot run: {reason}");
    None
}

#[test]
fn builds_without_a_feature_have_none_of_its_crates() {
    const TLS: &[&str] = &["ureq", "rustls", "ring", "rustls-native-certs"];
    const FONTS: &[&str] = &["ab_glyph", "ocelli-plot"];
    const ENGINE: &[&str] = &["ocelli-onnx", "ocelli-tflite", "rten"];
    const WEIGHTS: &[&str] = &["ocelli-lite0"];
    const PAGES: &[&str] = &["ocelli-report"];
    const SERVER: &[&str] = &["ocelli-serve", "axum", "hyper"];
    // With each feature of a crate, which of these are in its tree.
    let cases: &[(&str, &str, &[&[&str]])] = &[
        ("ocelli", "", &[]),
        ("ocelli", "hub", &[TLS]),
        ("ocelli", "plot", &[FONTS]),
        ("ocelli", "lite0", &[WEIGHTS]),
        ("ocelli", "onnx", &[ENGINE]),
        ("ocelli-cli", "", &[]),
        ("ocelli-cli", "report", &[PAGES, FONTS]),
        ("ocelli-cli", "serve", &[SERVER]),
    ];
    for (name, features, expected) in cases {
        let Some(found) = tree(name, features) else { return };
        assert!(found.contains("ocelli-nn"), "{name}: {found:?}");
        for group in [TLS, FONTS, ENGINE, WEIGHTS, PAGES, SERVER] {
            for member in group {
                let expected = expected.contains(&group);
                assert_eq!(found.contains(*member), expected, "{member} in {name} with [{features}]");
            }
        }
    }
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The tables in a module's docs say which file to open: each of them exists, beside the module.
#[test]
fn files_that_the_docs_name_exist() {
    let mut tables = BTreeSet::new();
    for (name, (folder, _)) in manifests() {
        for source in sources(&folder.join("src")) {
            let text = fs::read_to_string(&source).unwrap();
            let cells = text.lines().filter_map(|line| line.strip_prefix("//! | "));
            for cell in cells.flat_map(|line| line.split(" | ")) {
                // `NAME.rs` and `model/` stand for files of any name.
                let quoted = cell.split('`').skip(1).step_by(2).filter(|path| !path.contains("NAME"));
                for path in quoted
                    .filter(|path| [".rs", ".js", ".css", ".html"].iter().any(|end| path.ends_with(end)))
                {
                    tables.insert(name.clone());
                    let file = source.parent().unwrap().join(path);
                    assert!(file.is_file(), "{}: there is no {path}", source.display());
                }
            }
        }
    }
    assert!(tables.len() >= 8, "few crates say which file to open: {tables:?}");
}
