//! Images a second from files to training batches, and where the time goes, as rows of a table. `benches/data/run` does
//! it beside PyTorch.
//!
//! `cargo run --release -p ocelli-data --example loader_speed -- FOLDER… [--size 224] [--threads 1] [--passes 3]
//! [--stages]`; with `--stages` the table is that of the stages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli_data::source::list;
use ocelli_data::*;

fn main() -> Result<(), DataError> {
    let (mut folders, mut size, mut threads, mut passes, mut stages) = (Vec::new(), 224, 1, 3, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
        match argument.as_str() {
            "--size" => size = number(),
            "--threads" => threads = number(),
            "--passes" => passes = number(),
            "--stages" => stages = true,
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

    if stages {
        return print_stages(&items, &preprocessing, &augmentation, passes);
    }
    let options = LoaderOptions { threads, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::clone(&items), preprocessing, options)?.augment(augmentation.clone(), 1)?;
    let mut best = Duration::MAX;
    let busy = processor_seconds();
    for epoch in 0..passes as u64 {
        let start = Instant::now();
        let images: usize =
            loader.batches(indices.clone(), epoch)?.map(|batch| batch.map_or(0, |b| b.shape[0])).sum();
        assert_eq!(images, items.len());
        best = best.min(start.elapsed());
    }
    let rate = items.len() as f64 / best.as_secs_f64();
    let busy = (processor_seconds() - busy) / (items.len() * passes) as f64;
    let name = if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
    println!("| ocelli-data, {name} | {rate:.0} | {:.2} |", busy * 1e3);
    Ok(())
}

/// What this process has used of the processors, on Linux; elsewhere 0.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    // utime and stime, in hundredths of a second.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Each stage of each image, timed one after the other on one thread; of several passes the fastest of each counts.
fn print_stages(
    items: &Items,
    preprocessing: &Preprocessing,
    augmentation: &Augmentation,
    passes: usize,
) -> Result<(), DataError> {
    let decoder = Decoder::default();
    let plain = Augmentation { transforms: Vec::new(), ..augmentation.clone() };
    let mut sample = vec![0.0; preprocessing.sample_len()];
    let mut best = [f64::INFINITY; 4];
    for _ in 0..passes {
        let mut stages = [Duration::ZERO; 4];
        for item in &items.items {
            let start = Instant::now();
            let bytes = std::fs::read(&item.path).map_err(DataError::io("read", &item.path))?;
            let read = Instant::now();
            let image = decoder.decode_for(&bytes, augmentation.needed(preprocessing)).expect("an image");
            let decoded = Instant::now();
            let draws = || Draws::new(1, Purpose::Augment, 0, item.key());
            plain.apply(&image, preprocessing, &mut draws(), &mut sample)?;
            let resized = Instant::now();
            augmentation.apply(&image, preprocessing, &mut draws(), &mut sample)?;
            let augmented = Instant::now();
            let changes = (augmented - resized).saturating_sub(resized - decoded);
            for (stage, time) in
                stages.iter_mut().zip([read - start, decoded - read, resized - decoded, changes])
            {
                *stage += time;
            }
        }
        for (best, stage) in best.iter_mut().zip(stages) {
            *best = best.min(stage.as_secs_f64() * 1000.0 / items.len() as f64);
        }
    }
    let total: f64 = best.iter().sum();
    println!("| stage | ms an image | share |\n|---|---|---|");
    let names = ["read", "decode", "resize, zoom, crop, normalise", "rotation, flip, lighting on top of it"];
    for (name, time) in names.iter().zip(best) {
        println!("| {name} | {time:.2} | {:.0} % |", 100.0 * time / total);
    }
    println!("| all | {total:.2} | |");
    Ok(())
}
