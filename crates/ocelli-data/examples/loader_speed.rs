//! Images a second from files to batches, and where the time goes.
//!
//! `cargo run --release -p ocelli-data --example loader_speed -- FOLDER… [--size 224] [--threads 1] [--passes 3]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli_data::source::list;
use ocelli_data::*;

fn main() -> Result<(), DataError> {
    let (mut folders, mut size, mut threads, mut passes) = (Vec::new(), 224, 1, 3);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--size" => size = number(),
            "--threads" => threads = number(),
            "--passes" => passes = number(),
            _ => folders.push(argument),
        }
    }
    let items = Arc::new(list::read(&folders)?.items);
    let preprocessing = Preprocessing {
        size,
        framing: Framing::Crop { fraction: 1.0 },
        filter: Filter::Bilinear,
        normalization: Normalization::IMAGENET,
    };
    let augmentation = Augmentation::side_on().max_zoom(1.1);
    let indices: Vec<usize> = (0..items.len()).collect();

    let options = LoaderOptions { threads, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::clone(&items), preprocessing, options)?.augment(augmentation.clone(), 1)?;
    let mut best = Duration::MAX;
    for epoch in 0..passes as u64 {
        let start = Instant::now();
        let images: usize =
            loader.batches(indices.clone(), epoch)?.map(|batch| batch.map_or(0, |b| b.shape[0])).sum();
        assert_eq!(images, items.len());
        best = best.min(start.elapsed());
    }
    let rate = items.len() as f64 / best.as_secs_f64();
    println!("ocelli-data, {threads} threads: {rate:.0} images/s, {:.0} a thread", rate / threads as f64);

    let decoder = Decoder::default();
    let mut stages = [Duration::ZERO; 4];
    let mut sample = vec![0.0; preprocessing.sample_len()];
    for item in &items.items {
        let start = Instant::now();
        let bytes = std::fs::read(&item.path).map_err(DataError::io("read", &item.path))?;
        let read = Instant::now();
        let image = decoder.decode_for(&bytes, augmentation.needed(&preprocessing)).expect("an image");
        let decoded = Instant::now();
        let plain = preprocessing.frame(&image)?;
        let framed = Instant::now();
        std::hint::black_box(plain);
        let mut draws = Draws::new(1, Purpose::Augment, 0, item.key());
        augmentation.apply(&image, &preprocessing, &mut draws, &mut sample)?;
        let augmented = Instant::now();
        for (stage, time) in
            stages.iter_mut().zip([read - start, decoded - read, framed - decoded, augmented - framed])
        {
            *stage += time;
        }
    }
    let milliseconds = stages.map(|stage| stage.as_secs_f64() * 1000.0 / items.len() as f64);
    let [read, decode, frame, augment] = milliseconds;
    println!(
        "one thread, ms an image: read {read:.2}, decode {decode:.2}, resize, warp, colour, normalize {augment:.2}"
    );
    println!("(resize and crop alone, without augmentation: {frame:.2})");
    Ok(())
}
