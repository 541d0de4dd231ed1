//! Photos are files, of bounded length, pixels and scans; threads are bounded; all threads together keep to the limits.

#[path = "all/common/mod.rs"]
mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use common::write;
use ocelli_data::source::{folder, list};
use ocelli_data::{
    DecodeError, Decoder, Filter, Framing, Item, Items, Loader, LoaderOptions, Normalization, Preprocessing,
    Target, digests, inspect,
};

fn preprocessing(size: usize) -> Preprocessing {
    Preprocessing {
        size,
        framing: Framing::Squish,
        filter: Filter::Area,
        normalization: Normalization::IMAGENET,
    }
}

fn items(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Arc<Items> {
    let item = |path: &Path| Item {
        id: path.display().to_string(),
        path: path.to_owned(),
        target: Target::Unlabelled,
    };
    let items = paths.into_iter().map(|path| item(path.as_ref())).collect();
    Arc::new(Items { items, ..list::read(Vec::<&Path>::new()).unwrap().items })
}

#[cfg(unix)]
#[test]
fn devices_pipes_and_folders_are_no_photos() {
    let root = tempfile::tempdir().unwrap();
    let pipe = root.path().join("pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let socket = root.path().join("socket.jpg");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (Path::new("/dev/zero"), "is a device"),
        (Path::new("/dev/null"), "is a device"),
        (&pipe, "is a pipe"),
        (&socket, "is a socket"),
        (root.path(), "is a folder"),
    ] {
        let error = Decoder::default().decode_file_for(path, 10).unwrap_err().to_string();
        assert!(error.contains(what) && error.starts_with(&path.display().to_string()), "{error}");
        let error = digests(&items([path]), 1, || ()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        let facts = inspect(&items([path]), &Decoder::default(), 1, || ()).unwrap();
        assert!(facts.images[0].problem.as_ref().unwrap().contains(what));
        let mut batches = Loader::new(items([path]), preprocessing(8), LoaderOptions::default())
            .unwrap()
            .batches(vec![0], 0)
            .unwrap();
        assert!(batches.next().unwrap().unwrap().skipped[0].reason.contains(what));
    }

    // Nor do they become items of a folder.
    write(root.path(), "photos/a/1.png", common::png(1));
    write(root.path(), "photos/b/2.png", common::png(2));
    std::os::unix::fs::symlink("/dev/zero", root.path().join("photos/a/zero.jpg")).unwrap();
    std::os::unix::fs::symlink(&pipe, root.path().join("photos/b/pipe.jpg")).unwrap();
    let data = folder::read(root.path().join("photos")).unwrap();
    assert_eq!((data.items.len(), data.skipped.len()), (2, 2), "{:?}", data.skipped);
}

#[test]
fn a_file_without_end_is_not_read() {
    let root = tempfile::tempdir().unwrap();
    // A hole of three gigabytes behind the beginning of a JPEG takes no room on the disk.
    let path = root.path().join("x.jpg");
    write(root.path(), "x.jpg", [0xFF, 0xD8, 0xFF, 0xE0]);
    File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    let error = Decoder::default().decode_file_for(&path, 10).unwrap_err().to_string();
    assert!(error.contains("3221225472 bytes, more than the limit of 603979774"), "{error}");
    assert!(error.contains("max_pixels"), "{error}");
    let facts = inspect(&items([&path]), &Decoder::default(), 1, || ()).unwrap();
    assert!(facts.images[0].problem.as_ref().unwrap().contains("3221225472 bytes"));
    // More pixels allow for more bytes.
    assert!(Decoder { max_pixels: 1 << 30, ..Decoder::default() }.max_bytes() > 3 << 30);
}

/// A progressive JPEG whose last scan is there so many times.
fn scans(count: usize) -> Vec<u8> {
    let file =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images/progressive.jpg")).unwrap();
    let last = file.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let scan = &file[last..file.len() - 2];
    let before = file.windows(2).filter(|pair| *pair == [0xFF, 0xDA]).count();
    [&file[..file.len() - 2], &scan.repeat(count - before), &[0xFF, 0xD9]].concat()
}

#[test]
fn scans_are_bounded_and_by_the_size_of_the_image() {
    for needed in [3, u32::MAX] {
        let error = Decoder::default().decode_for(&scans(501), needed).unwrap_err();
        assert!(matches!(error, DecodeError::TooManyScans { scans: 501, limit: 500 }), "{error}");
        // The largest image may have 20.
        let largest = Decoder { max_pixels: 37 * 29, ..Decoder::default() };
        let error = largest.decode_for(&scans(21), needed).unwrap_err();
        assert!(matches!(error, DecodeError::TooManyScans { scans: 21, limit: 20 }), "{error}");
        assert!(error.to_string().contains("21 scans") && error.to_string().contains("20"));
        let plain = largest.decode_for(&scans(10), needed);
        assert!(plain.is_ok(), "{plain:?}");
    }
}

#[test]
fn threads_are_bounded() {
    let path = Path::new("none.jpg");
    let options = LoaderOptions { threads: 1000, ..LoaderOptions::default() };
    let error = Loader::new(items([path]), preprocessing(8), options).unwrap_err().to_string();
    assert!(error.contains("threads is 1000; it must be at most 256"), "{error}");
    assert!(digests(&items([path]), 257, || ()).unwrap_err().to_string().contains("threads is 257"));
    assert!(ocelli_data::check_threads(256).is_ok() && ocelli_data::check_threads(0).is_ok());
}

/// A GIF of 42 bytes that claims so many pixels and has one.
fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    file.extend([0x80, 0, 0, 10, 20, 30, 40, 50, 60]);
    file.extend([0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x4C, 0x01, 0, 0x3B]);
    file
}

/// Four images of 70 megapixels, each of which takes 280 MB and more while it is decoded, by four threads: not all at
/// once.
#[cfg(target_os = "linux")]
#[test]
fn all_threads_together_keep_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..4)
        .map(|number| {
            write(root.path(), &format!("{number}.gif"), gif(7000 + number, 10_000));
            root.path().join(format!("{number}.gif"))
        })
        .collect();
    let options = LoaderOptions { threads: 4, ..LoaderOptions::default() };
    let loader = Loader::new(items(&paths), preprocessing(8), options).unwrap();
    let batch = loader.batches((0..4).collect(), 0).unwrap().next().unwrap().unwrap();
    assert_eq!(batch.indices.len(), 4, "{:?}", batch.skipped);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 800_000, "{peak} kB");
}
