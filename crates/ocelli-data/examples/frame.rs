//! Frames pictures as a network sees them, to compare with other libraries; see `benches/data/resize.py`.
//!
//! `cargo run --release -p ocelli-data --example frame -- FILTER SIZE FOLDER PICTURES…` squishes each picture to SIZE × SIZE
//! with FILTER (area, bilinear, bicubic, lanczos) and writes it into FOLDER as a PNG file.

use std::path::Path;

use ocelli_data::{DataError, Decoder, Filter, Framing, Normalization, Preprocessing};

fn main() -> Result<(), DataError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [filter, size, folder, pictures @ ..] = &arguments[..] else {
        panic!("FILTER SIZE FOLDER PICTURES…")
    };
    let filter = match filter.as_str() {
        "area" => Filter::Area,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        _ => Filter::Lanczos,
    };
    let size = size.parse().expect("a number of pixels");
    let preprocessing =
        Preprocessing { size, framing: Framing::Squish, filter, normalization: Normalization::IMAGENET };
    for picture in pictures {
        let framed = preprocessing.frame(&Decoder::default().decode_file(picture)?)?;
        framed.write_png(Path::new(folder).join(Path::new(picture).file_name().expect("a file")))?;
    }
    Ok(())
}
