//! The page about a data set: what it shows, and that names cannot become elements.

use std::fs;
use std::path::Path;

use ocelli::ImageData;
use ocelli_data::{Decoder, RgbImage};
use ocelli_report::inspect_page;

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A photo-like picture of waves.
fn waves(side: u32, phase: f32) -> Vec<u8> {
    let pixel = |number: u32| {
        let (x, y) = (number % side, number / side);
        let (x, y) = (x as f32 / side as f32 * 9.0, y as f32 / side as f32 * 7.0);
        let wave =
            |a: f32, b: f32| (128.0 + 100.0 * (a * x + phase).sin() * (b * y + phase * 2.0).cos()) as u8;
        [wave(1.0, 0.7), wave(0.6, 1.1), wave(1.3, 0.4)]
    };
    RgbImage::new(side, side, (0..side * side).flat_map(pixel).collect()).unwrap().to_png()
}

#[test]
fn a_page_shows_the_findings_and_escapes_names() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "train/<b>&\"cats\"/0.png", &waves(300, 0.3));
    write(root.path(), "train/dogs/1.png", &waves(200, 2.0));
    write(root.path(), "valid/dogs/2.png", &waves(200, 2.0));
    write(root.path(), "valid/dogs/3.png", b"no image");
    let report = ImageData::from_folder(root.path()).inspect(|_| ()).unwrap();
    let page = inspect_page(&report, &Decoder::default(), 2).unwrap();
    assert!(!page.contains("<b>&\"cats") && page.contains("&lt;b&gt;&amp;&quot;cats&quot;"));
    assert!(page.contains("train/dogs/1.png (train) = valid/dogs/2.png (valid)"));
    assert!(page.contains("3.png: named .png, but its content is no image"));
    // Nothing is fetched: every picture is within, and each decodes to a small JPEG.
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
    let pictures: Vec<&str> = page.split("src=\"").skip(1).collect();
    assert_eq!(pictures.len(), 6, "three examples, the two that are identical, and waves without an edge");
    for picture in pictures {
        let data = picture.split('"').next().unwrap().strip_prefix("data:image/jpeg;base64,").unwrap();
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap();
        let image = Decoder::default().decode(&bytes).unwrap();
        assert_eq!((image.width(), image.height()), (144, 144));
    }
    let open = |tag: &str| page.matches(&format!("<{tag}")).count();
    for tag in ["table", "ul", "div", "section", "svg", "figure", "h2", "li", "tr", "td"] {
        assert_eq!(
            open(&format!("{tag}>")) + open(&format!("{tag} ")),
            page.matches(&format!("</{tag}>")).count(),
            "{tag}"
        );
    }
}

/// Every finding is on the page, with the photos that it is about.
#[test]
fn a_page_shows_photos_with_nothing_to_see_in_them() {
    let root = tempfile::tempdir().unwrap();
    let grey = |value: u8| RgbImage::new(200, 150, vec![value; 200 * 150 * 3]).unwrap().to_png();
    write(root.path(), "a/blank.png", &grey(0));
    write(root.path(), "a/waves.png", &waves(200, 0.3));
    write(root.path(), "b/light.png", &grey(255));
    write(root.path(), "b/waves.png", &waves(200, 2.0));
    let report = ImageData::from_folder(root.path()).inspect(|_| ()).unwrap();
    let page = inspect_page(&report, &Decoder::default(), 1).unwrap();
    assert!(page.contains("Blank, or nearly so") && page.contains("very blurred"), "{page}");
    for name in ["a/blank.png", "b/light.png"] {
        assert!(page.contains(&format!("alt=\"{name}\"")), "{name}");
    }
}
