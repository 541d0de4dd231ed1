//! Where results are written, and that they are of the images that were used.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::common::{Place, small, snapshot, stderr};

/// A place with a run in `run`, shared by the tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(8);
        place.run(&head(&["--out", "run"]));
        place
    })
}

/// Training of the head that is over soon.
fn head<'a>(more: &[&'a str]) -> Vec<&'a str> {
    small(&[&["--batch-size", "8", "--head-epochs", "2", "--lr", "1e-2", "--threads", "1"], more].concat())
}

/// Breaks files off in their middle, so that they are found unreadable when they are decoded.
fn truncate(files: impl IntoIterator<Item = PathBuf>) {
    for file in files {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    }
}

fn files(place: &Place, folder: &str) -> Vec<PathBuf> {
    snapshot(&place.path(folder)).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn one_file_of_text_may_go_to_standard_output() {
    let place = place();
    place.run(&["submit", "run", "photos/flags", "--out", "submission.csv"]);
    let said = place.run(&["submit", "run", "photos/flags", "--out", "-"]);
    assert_eq!(said, place.read("submission.csv"));
    let page = place.run(&["inspect", "photos", "--html", "-"]);
    assert!(page.starts_with("<!") && page.trim_end().ends_with("</html>"), "{page:.200}");
    assert!(place.refusal(&["inspect", "photos", "--html", "-", "--json"]).contains("--json"));
    for arguments in [
        &["augment", "photos/flags", "--out", "-"][..],
        &["evaluate", "run", "photos", "--out", "-"],
        &["explain", "run", "photos/flags", "--out", "-"],
        &head(&["--out", "-"]),
    ] {
        assert!(place.refusal(arguments).contains("--out -"), "{arguments:?}");
    }
    assert!(!place.path("-").exists());
}

#[cfg(unix)]
#[test]
fn pipes_and_links_are_written_to() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let place = place();
    symlink("page-of-it.html", place.path("page.html")).unwrap();
    place.run(&["inspect", "photos", "--html", "page.html"]);
    assert!(place.path("page.html").is_symlink() && place.path("page-of-it.html").is_file());
    let pipe = place.path("pipe");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        return println!("skipped: there is no mkfifo here");
    }
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::read_to_string(pipe).unwrap())
    };
    place.run(&["submit", "run", "photos/flags", "--out", "pipe"]);
    assert!(reader.join().unwrap().starts_with("id,flags,"));
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_picture_is_what_its_name_says() {
    let place = place();
    let said = place.refusal(&["augment", "photos/flags", "--size", "32", "--out", "sheet.jpg"]);
    assert!(said.contains(".png") && !place.path("sheet.jpg").exists(), "{said}");
}

#[test]
fn baseline_warning_and_counts_are_those_of_images_that_were_used() {
    let place = Place::with_photos(10);
    fs::remove_dir_all(place.path("photos/smileys-and-emotion")).unwrap();
    // Most flags cannot be read, so that food is the most frequent class.
    truncate(files(&place, "photos/flags").into_iter().skip(2));
    let said = place.run(&head(&["--bad-images", "skip", "--out", "run", "--seed", "1"]));
    assert!(
        !said.contains("predicting flags") && said.contains("all validation images are of food-and-drink"),
        "{said}"
    );
    let counts = place.read("run/results/data.csv");
    let flags: Vec<usize> =
        counts.lines().nth(1).unwrap().split(',').skip(1).map(|count| count.parse().unwrap()).collect();
    assert_eq!(flags.iter().sum::<usize>(), 2, "{counts}");
    assert!(counts.contains("food-and-drink,8,2"), "{counts}");
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("stops where a class loses more than a tenth"), "{said}");
    // Nothing to train on is known before anything is trained.
    truncate(files(&place, "photos"));
    let said = place.refusal(&head(&["--bad-images", "skip", "--out", "none"]));
    assert!(said.contains("none of the 16 training images can be read"), "{said}");
    assert!(!place.path("none").exists());
}

#[test]
fn a_limit_of_pixels_holds_whatever_is_in_the_cache() {
    let place = Place::with_photos(4);
    // Beside the photos of 64 × 64 pixels, some of 32 × 32.
    for (class, light) in [("flags", 40), ("food-and-drink", 120), ("smileys-and-emotion", 200)] {
        for number in 0..4 {
            let mut image = b"P6 32 32 255\n".to_vec();
            image.extend((0..32 * 32 * 3).map(|at| light + (at * (number + 3) % 50) as u8));
            fs::write(place.path(&format!("photos/{class}/{number}.ppm")), image).unwrap();
        }
    }
    let data = |run: &str| place.read(&format!("{run}/results/data.csv"));
    let limited = ["--bad-images", "skip", "--max-pixels", "3000", "--out"];
    place.run(&head(&[&limited[..], &["before"]].concat()));
    place.run(&head(&["--out", "all"]));
    assert!(data("all").contains("flags,6,2"), "{}", data("all"));
    let said = place.run(&head(&[&limited[..], &["after"]].concat()));
    assert!(said.contains("12 images from the cache"), "{said}");
    assert_eq!(data("before"), data("after"));
    assert_eq!(place.read("before/predictions.csv"), place.read("after/predictions.csv"));
    let raised = place.run(&head(&["--max-pixels", "1000000000", "--out", "raised"]));
    assert!(
        raised.contains("24 images from the cache"),
        "a higher limit allows what a lower one did: {raised}"
    );
}

#[test]
fn an_evaluation_needs_to_know_what_was_trained_on() {
    let place = Place::with_photos(6);
    place.run(&head(&["--out", "run"]));
    let photos = place.path("run/photos.csv");
    let whole = fs::read_to_string(&photos).unwrap();
    let fewer: Vec<&str> = whole.lines().take(4).collect();
    fs::write(&photos, fewer.join("\n") + "\n").unwrap();
    for model in ["run", "run/model.safetensors"] {
        let said = place.refusal(&["evaluate", model, "photos"]);
        assert!(said.contains("photos.csv") && said.contains("checksums.b3"), "{said}");
    }
    fs::remove_file(&photos).unwrap();
    assert!(place.refusal(&["evaluate", "run", "photos"]).contains("photos.csv"));
    fs::write(&photos, whole).unwrap();
    // The same bytes under two labels: one of them is wrong, here as in training.
    fs::create_dir_all(place.path("new/flags")).unwrap();
    fs::create_dir_all(place.path("new/food-and-drink")).unwrap();
    let mut names = files_of(&crate::common::samples().join("flags"));
    fs::copy(names.pop().unwrap(), place.path("new/flags/a.png")).unwrap();
    fs::copy(place.path("new/flags/a.png"), place.path("new/food-and-drink/b.png")).unwrap();
    let output = place.ocelli(&["evaluate", "run", "new"]).output().unwrap();
    assert!(stderr(&output).contains("1 image has different labels"), "{}", stderr(&output));
}

fn files_of(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn runs_on_other_photos_of_the_same_names_are_not_compared() {
    let place = place();
    let other = Place::with_photos(8);
    for (number, file) in files(&other, "photos").into_iter().enumerate() {
        let mut bytes = fs::read(&file).unwrap();
        // After the end of a PNG file nothing is read.
        bytes.extend((number as u32).to_be_bytes());
        fs::write(&file, bytes).unwrap();
    }
    other.run(&head(&["--out", "run"]));
    let there = other.path("run");
    let said = place.refusal(&["compare", "run", there.to_str().unwrap()]);
    assert!(said.contains("none of them is the same file"), "{said}");
}

#[test]
fn what_is_misspelt_is_named() {
    let place = place();
    let config = place.read("run/config.toml");
    for (from, to, nearest) in
        [("\nsize = ", "\nsise = ", "`size`"), ("\nseed = ", "\nbatchsize = 4\nseed = ", "`batch_size`")]
    {
        fs::write(place.path("other.toml"), config.replacen(from, to, 1)).unwrap();
        let said = place.refusal(&["train", "--config", "other.toml", "--out", "other"]);
        let unknown = to.trim().split(' ').next().unwrap();
        assert!(said.contains(&format!("unknown setting `{unknown}`")) && said.contains(nearest), "{said}");
    }
    let said = place.refusal(&["train", "--data", "photos"]);
    assert!(said.contains("goes with --resume") && said.contains("ocelli train photos"), "{said}");
}
