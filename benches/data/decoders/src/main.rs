//! Decodes JPEG files with each decoder, one thread, and prints images and megapixels a second.
//!
//! `cargo run --release -- FILES`; needs CMake and NASM to build libjpeg-turbo.

use std::io::Cursor;
use std::time::Instant;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

type Decode = fn(&[u8]) -> Option<usize>;

fn main() {
    let files: Vec<Vec<u8>> = std::env::args().skip(1).map(|path| std::fs::read(path).unwrap()).collect();
    let pixels: usize = files.iter().filter_map(|file| zune(file)).sum::<usize>() / 3;
    let decoders: [(&str, Decode); 10] = [
        ("zune-jpeg 0.5", zune),
        ("image 0.25 (zune-jpeg)", image),
        ("jpeg-decoder 0.3", |bytes| pure(bytes, 1)),
        ("jpeg-decoder 0.3, 1/2", |bytes| pure(bytes, 2)),
        ("jpeg-decoder 0.3, 1/4", |bytes| pure(bytes, 4)),
        ("jpeg-decoder 0.3, 1/8", |bytes| pure(bytes, 8)),
        ("libjpeg-turbo", |bytes| turbo(bytes, 1)),
        ("libjpeg-turbo, 1/2", |bytes| turbo(bytes, 2)),
        ("libjpeg-turbo, 1/4", |bytes| turbo(bytes, 4)),
        ("libjpeg-turbo, 1/8", |bytes| turbo(bytes, 8)),
    ];
    for (name, decode) in decoders {
        // The best of five passes: other work on the machine only adds time.
        let seconds = (0..5)
            .map(|_| {
                let start = Instant::now();
                let bytes: usize = files.iter().map(|file| decode(file).unwrap_or(0)).sum();
                std::hint::black_box(bytes);
                start.elapsed().as_secs_f64()
            })
            .fold(f64::INFINITY, f64::min);
        let (images, megapixels) = (files.len() as f64 / seconds, pixels as f64 / 1e6 / seconds);
        println!("| {name} | {images:.1} | {megapixels:.0} |");
    }
}

fn zune(bytes: &[u8]) -> Option<usize> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().ok().map(|pixels| pixels.len())
}

fn image(bytes: &[u8]) -> Option<usize> {
    let image = image::load(Cursor::new(bytes), image::ImageFormat::Jpeg).ok()?;
    Some(image.into_rgb8().len())
}

fn pure(bytes: &[u8], divisor: u16) -> Option<usize> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    decoder.scale(info.width / divisor, info.height / divisor).ok()?;
    decoder.decode().ok().map(|pixels| pixels.len())
}

fn turbo(bytes: &[u8], divisor: usize) -> Option<usize> {
    let mut decompressor = turbojpeg::Decompressor::new().ok()?;
    decompressor.set_scaling_factor(turbojpeg::ScalingFactor::new(1, divisor)).ok()?;
    let header = decompressor.read_header(bytes).ok()?.scaled(decompressor.scaling_factor());
    let mut image = turbojpeg::Image {
        pixels: vec![0; header.width * header.height * 3],
        width: header.width,
        pitch: header.width * 3,
        height: header.height,
        format: turbojpeg::PixelFormat::RGB,
    };
    decompressor.decompress(bytes, image.as_deref_mut()).ok()?;
    Some(image.pixels.len())
}
