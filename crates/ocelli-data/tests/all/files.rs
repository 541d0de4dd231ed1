//! Files are written whole or not at all, and what others have left half-written goes when it is old.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use ocelli_data::files;

#[test]
fn what_cannot_be_written_whole_leaves_what_was_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/file");
    files::write_whole(&path, b"one").unwrap();
    files::write_whole(&path, b"two").unwrap();
    assert_eq!(files::read(&path).unwrap(), b"two");
    // A folder is in the way of the name, a file in that of the folder.
    fs::create_dir(folder.path().join("a/c")).unwrap();
    fs::write(folder.path().join("a/c/inside"), "").unwrap();
    assert!(files::write_whole(folder.path().join("a/c"), b"three").is_err());
    let error = files::write_whole(path.join("below"), b"three").unwrap_err().to_string();
    assert!(error.contains("a/b/file"), "{error}");
    assert_eq!(files::read(&path).unwrap(), b"two");
    assert_eq!(files::list(folder.path().join("a")).unwrap().len(), 2);
    assert_eq!(files::list(folder.path().join("a/b")).unwrap(), [path]);
    assert!(files::list(folder.path().join("none")).unwrap().is_empty());
    assert!(files::list(folder.path().join("a/b/file")).is_err());
}

#[test]
fn lines_are_added_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    files::append(&path, b"one\n").unwrap();
    files::append(&path, b"two\n").unwrap();
    assert_eq!(files::read_text(&path).unwrap(), "one\ntwo\n");
    assert_eq!(files::hash(&path).unwrap(), blake3::hash(b"one\ntwo\n"));
}

#[test]
fn half_written_files_go_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old, other) = (".writing-new", ".writing-old", "old");
    let hours = |hours: u64| SystemTime::now() - Duration::from_secs(3600 * hours);
    for (name, written) in [(new, hours(0)), (old, hours(2)), (other, hours(2))] {
        File::create(folder.path().join(name)).unwrap().set_modified(written).unwrap();
    }
    files::sweep(folder.path(), files::LEFT);
    let there = |name: &str| folder.path().join(name).exists();
    assert!(there(new) && !there(old) && there(other), "what may still be written to stays");
    files::sweep(folder.path(), Duration::ZERO);
    assert!(!there(new) && there(other));
    let locked = files::temporary(folder.path().join("file")).unwrap();
    files::sweep(folder.path(), Duration::ZERO);
    assert!(locked.path().exists(), "its writer is alive");
    let left = locked.into_temp_path();
    files::sweep(folder.path(), Duration::ZERO);
    assert!(!left.exists(), "nobody holds it");
}

#[test]
fn a_lock_keeps_others_out_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".lock");
    let lock = files::lock(&path).unwrap();
    assert!(lock.is_some());
    assert!(files::lock(&path).unwrap().is_none());
    drop(lock);
    assert!(files::lock(&path).unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn a_link_stays_one_and_what_it_names_is_replaced() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("there")).unwrap();
    fs::write(path("there/file"), "old").unwrap();
    symlink("there/file", path("link")).unwrap();
    symlink("link", path("link to it")).unwrap();
    symlink("there/later", path("dangling")).unwrap();
    files::write_whole(path("link to it"), b"new").unwrap();
    files::write_whole(path("dangling"), b"first").unwrap();
    for (link, file, content) in [
        ("link", "there/file", "new"),
        ("link to it", "there/file", "new"),
        ("dangling", "there/later", "first"),
    ] {
        assert!(path(link).is_symlink() && !path(file).is_symlink(), "{link}");
        assert_eq!(fs::read_to_string(path(file)).unwrap(), content);
    }
    assert_eq!(files::list(path("there")).unwrap().len(), 2, "no temporary file is left");
    symlink("one", path("two")).unwrap();
    symlink("two", path("one")).unwrap();
    let error = files::write_whole(path("one"), b"x").unwrap_err().to_string();
    assert!(error.contains("links"), "{error}");
    assert!(path("one").is_symlink());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_written_to_and_stays_one() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        return println!("skipped: there is no mkfifo here");
    }
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link] {
        let reader = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::read(pipe).unwrap())
        };
        files::write_whole(path, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    }
}

#[test]
fn a_scratch_file_holds_what_was_appended_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("cache");
    let mut scratch = files::Scratch::create(&place).unwrap();
    assert!(scratch.is_empty());
    for number in 0..5u8 {
        scratch.append(&[number; 1000]).unwrap();
    }
    assert_eq!(scratch.len(), 5000);
    let mut bytes = [9; 4];
    for (offset, expected) in [(0, [0; 4]), (998, [0, 0, 1, 1]), (4996, [4; 4])] {
        scratch.read_at(&mut bytes, offset).unwrap();
        assert_eq!(bytes, expected);
    }
    assert_eq!(scratch.read_at(&mut bytes, 4997).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    drop(scratch);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
}
