//! Decodes and resizes JPEG files with each library, one thread, and prints milliseconds of the processor an image as rows
//! of tables.
//!
//! `cargo run --release -- FILES`; needs CMake and NASM to build libjpeg-turbo. `../run` does it all.

use std::io::Cursor;

use fast_image_resize as fir;
use ocelli_data::{Decoder, Filter, Framing, Normalization, Preprocessing, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The side in pixels that images are decoded and resized for.
const SIZE: u32 = 224;

type Decode = fn(&[u8]) -> Option<usize>;
type Resize = fn(&RgbImage, (u32, u32)) -> usize;

fn main() {
    let files: Vec<Vec<u8>> = std::env::args().skip(1).map(|path| std::fs::read(path).unwrap()).collect();
    let images: Vec<RgbImage> = files.iter().map(|file| Decoder::default().decode(file).unwrap()).collect();
    let pixels: usize = images.iter().map(|image| image.pixels().len() / 3).sum();

    println!("| decoder | ms an image | megapixels a second |\n|---|---|---|");
    let decoders: [(&str, Decode); 14] = [
        ("zune-jpeg 0.5", zune),
        ("image 0.25 (zune-jpeg)", image),
        ("jpeg-decoder 0.3", |bytes| pure(bytes, 1)),
        ("jpeg-decoder 0.3, at 1/2", |bytes| pure(bytes, 2)),
        ("jpeg-decoder 0.3, at 1/4", |bytes| pure(bytes, 4)),
        ("jpeg-decoder 0.3, at 1/8", |bytes| pure(bytes, 8)),
        ("turbojpeg 1.5 (libjpeg-turbo)", |bytes| turbo(bytes, 1)),
        ("turbojpeg 1.5, at 1/2", |bytes| turbo(bytes, 2)),
        ("turbojpeg 1.5, at 1/4", |bytes| turbo(bytes, 4)),
        ("turbojpeg 1.5, at 1/8", |bytes| turbo(bytes, 8)),
        ("mozjpeg 0.10 (libjpeg-turbo)", |bytes| moz(bytes, 8)),
        ("mozjpeg 0.10, at 1/2", |bytes| moz(bytes, 4)),
        ("**ocelli-data, whole**", |bytes| Some(Decoder::default().decode(bytes).ok()?.pixels().len())),
        ("**ocelli-data, for 224 px**", |bytes| {
            Some(Decoder::default().decode_for(bytes, SIZE).ok()?.pixels().len())
        }),
    ];
    let seconds = best(&decoders.map(|(_, decode)| {
        let files = &files;
        move || files.iter().map(|file| decode(file).unwrap_or(0)).sum()
    }));
    for ((name, _), seconds) in decoders.iter().zip(seconds) {
        let (each, rate) = (1e3 * seconds / files.len() as f64, pixels as f64 / 1e6 / seconds);
        println!("| {name} | {each:.2} | {rate:.0} |");
    }

    println!("\n| resizer, shorter side to 224 px | ms an image |\n|---|---|");
    let resizers: [(&str, Resize); 8] = [
        ("fast_image_resize 6.1, bilinear", |image, to| fast(image, to, fir::FilterType::Bilinear)),
        ("fast_image_resize 6.1, bicubic", |image, to| fast(image, to, fir::FilterType::CatmullRom)),
        ("image 0.25, bilinear", |image, to| slow(image, to, image::imageops::FilterType::Triangle)),
        ("image 0.25, bicubic", |image, to| slow(image, to, image::imageops::FilterType::CatmullRom)),
        ("resize 0.8, bilinear", |image, to| plain(image, to, resize::Type::Triangle)),
        ("resize 0.8, bicubic", |image, to| plain(image, to, resize::Type::Catrom)),
        ("**ocelli-data, bilinear, and the crop**", |image, _| ours(image, Filter::Bilinear)),
        ("**ocelli-data, bicubic, and the crop**", |image, _| ours(image, Filter::Bicubic)),
    ];
    let seconds = best(&resizers.map(|(_, resize)| {
        let images = &images;
        move || images.iter().map(|image| resize(image, target(image))).sum()
    }));
    for ((name, _), seconds) in resizers.iter().zip(seconds) {
        println!("| {name} | {:.2} |", 1e3 * seconds / files.len() as f64);
    }
}

/// Seconds of the processor of the best of seven passes of each, in turn: other work on the machine only adds time.
fn best<const N: usize>(work: &[impl Fn() -> usize; N]) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    for _ in 0..7 {
        for (best, work) in best.iter_mut().zip(work) {
            let start = processor_seconds();
            std::hint::black_box(work());
            *best = best.min(processor_seconds() - start);
        }
    }
    best
}

/// What this thread has used of a processor, on Linux.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
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

fn moz(bytes: &[u8], eighths: u8) -> Option<usize> {
    let mut decoder = mozjpeg::Decompress::new_mem(bytes).ok()?;
    decoder.scale(eighths);
    let mut rows = decoder.rgb().ok()?;
    Some(rows.read_scanlines::<u8>().ok()?.len())
}

/// Width and height with the shorter side at `SIZE`.
fn target(image: &RgbImage) -> (u32, u32) {
    let shorter = image.width().min(image.height());
    (image.width() * SIZE / shorter, image.height() * SIZE / shorter)
}

fn fast(image: &RgbImage, (width, height): (u32, u32), filter: fir::FilterType) -> usize {
    let source =
        fir::images::ImageRef::new(image.width(), image.height(), image.pixels(), fir::PixelType::U8x3).unwrap();
    let mut into = fir::images::Image::new(width, height, fir::PixelType::U8x3);
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter));
    fir::Resizer::new().resize(&source, &mut into, &options).unwrap();
    into.buffer().len()
}

fn slow(image: &RgbImage, (width, height): (u32, u32), filter: image::imageops::FilterType) -> usize {
    let view = image::ImageBuffer::<image::Rgb<u8>, &[u8]>::from_raw(image.width(), image.height(), image.pixels());
    image::imageops::resize(&view.unwrap(), width, height, filter).len()
}

fn plain(image: &RgbImage, (width, height): (u32, u32), filter: resize::Type) -> usize {
    use rgb::FromSlice;
    let mut into = vec![rgb::RGB8::default(); width as usize * height as usize];
    let (from, to) = ((image.width() as usize, image.height() as usize), (width as usize, height as usize));
    let mut resizer = resize::new(from.0, from.1, to.0, to.1, resize::Pixel::RGB8, filter).unwrap();
    resizer.resize(image.pixels().as_rgb(), &mut into).unwrap();
    into.len() * 3
}

fn ours(image: &RgbImage, filter: Filter) -> usize {
    let preprocessing = Preprocessing {
        size: SIZE as usize,
        framing: Framing::Crop { fraction: 1.0 },
        filter,
        normalization: Normalization::IMAGENET,
    };
    preprocessing.frame(image).unwrap().pixels().len()
}
