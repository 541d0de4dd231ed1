//! Batches are the same whatever the threads, bad images leave gaps, and a pass can be left early.

use std::sync::Arc;

use crate::common::{fill, shared, write};
use ocelli_data::source::folder;
use ocelli_data::{
    Augmentation, BadImages, Batch, DataError, Filter, Framing, Items, Loader, LoaderOptions, Normalization,
    Preprocessing, Sampler,
};

const SMALL: Preprocessing = Preprocessing {
    size: 16,
    framing: Framing::Crop { fraction: 1.0 },
    filter: Filter::Bilinear,
    normalization: Normalization::IMAGENET,
};

fn items(images: u32) -> (tempfile::TempDir, Arc<Items>) {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], images);
    let items = folder::read(root.path()).unwrap().items;
    (root, Arc::new(items))
}

fn batches(items: &Arc<Items>, options: LoaderOptions, indices: Vec<usize>) -> Vec<Batch> {
    let loader = Loader::new(Arc::clone(items), SMALL, options).unwrap();
    loader.batches(indices, 0).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let (_root, items) = items(25);
    let order = Sampler::Shuffled { seed: 3 }.of(&items, &(0..50).collect::<Vec<_>>(), 1);
    let options = LoaderOptions { batch_size: 8, threads: 1, prefetch: 1, ..Default::default() };
    let one = batches(&items, options, order.clone());
    assert_eq!(one.iter().map(|batch| batch.shape[0]).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 8, 2]);
    assert_eq!(one.iter().flat_map(|batch| batch.indices.clone()).collect::<Vec<_>>(), order);
    for (threads, prefetch) in [(2, 1), (3, 4), (16, 2), (0, 1)] {
        let options = LoaderOptions { threads, prefetch, ..options };
        assert!(batches(&items, options, order.clone()) == one, "{threads} threads, {prefetch} ahead");
    }
}

#[test]
fn a_batch_holds_the_samples_of_its_items() {
    let (_root, items) = items(3);
    let options = LoaderOptions { batch_size: 4, ..Default::default() };
    for batch in batches(&items, options, vec![5, 0, 3, 3, 1]) {
        assert_eq!(batch.shape, [batch.indices.len(), 16, 16, 3]);
        for (place, &index) in batch.indices.iter().enumerate() {
            let image = options.decoder.decode_file(&items[index].path).unwrap();
            let mut sample = vec![0.0; SMALL.sample_len()];
            SMALL.apply(&image, &mut sample).unwrap();
            assert_eq!(batch.images[place * sample.len()..][..sample.len()], sample);
        }
    }
}

#[test]
fn samples_of_one_image_side_by_side_are_those_of_their_epochs() {
    let (_root, items) = items(4);
    let broken = 2;
    let whole = std::fs::read(&items[broken].path).unwrap();
    std::fs::write(&items[broken].path, &whole[..whole.len() / 2]).unwrap();
    let augmentation = Augmentation::side_on().max_zoom(1.3);
    for (threads, batch_size) in [(1, 4), (3, 5), (2, 64)] {
        let options = LoaderOptions { batch_size, threads, ..Default::default() };
        let loader =
            Loader::new(items.clone(), SMALL, options).unwrap().augment(augmentation.clone(), 7).unwrap();
        let samples: Vec<(usize, u64)> =
            (0..items.len()).flat_map(|item| [(item, 3), (item, 900), (item, 3)]).collect();
        let seen: Vec<Batch> = loader.batches_of(samples.clone()).unwrap().collect::<Result<_, _>>().unwrap();
        let of = |batches: &[Batch]| -> Vec<((usize, u64), Vec<f32>)> {
            let rows = batches.iter().flat_map(|batch| {
                let names = batch.indices.iter().copied().zip(batch.epochs.iter().copied());
                names.zip(batch.images.chunks_exact(SMALL.sample_len()).map(<[f32]>::to_vec))
            });
            rows.collect()
        };
        let seen_samples = of(&seen);
        let wanted = samples.iter().copied().filter(|(item, _)| *item != broken);
        assert!(seen_samples.iter().map(|(name, _)| *name).eq(wanted), "{threads} threads");
        assert_eq!(seen.iter().map(|batch| batch.skipped.len()).sum::<usize>(), 3);
        // A pass of one epoch, in which an item occurs twice, draws the same.
        for epoch in [3, 900] {
            let order: Vec<usize> =
                samples.iter().filter(|(_, of)| *of == epoch).map(|(item, _)| *item).collect();
            let pass: Vec<Batch> = loader.batches(order, epoch).unwrap().collect::<Result<_, _>>().unwrap();
            let of_epoch: Vec<_> = seen_samples.iter().filter(|((_, of), _)| *of == epoch).cloned().collect();
            assert!(of(&pass) == of_epoch, "epoch {epoch}, {threads} threads");
        }
    }
}

#[test]
fn a_bad_image_leaves_a_gap_in_its_own_batch() {
    let (root, items) = items(6);
    let all: Vec<usize> = (0..12).collect();
    let options = LoaderOptions { batch_size: 4, threads: 2, ..Default::default() };
    let whole = batches(&items, options, all.clone());
    // The first, one in the middle, and a whole batch.
    let bad = [0, 5, 8, 9, 10, 11];
    for index in bad {
        write(root.path(), &items[index].id, &crate::common::png(1)[..50]);
    }
    let gaps = batches(&items, options, all.clone());
    assert_eq!(gaps.iter().map(|batch| batch.shape[0]).collect::<Vec<_>>(), [3, 3, 0]);
    let length = SMALL.sample_len();
    for (gap, whole) in gaps.iter().zip(&whole) {
        let kept: Vec<usize> = (0..4).filter(|&place| !bad.contains(&whole.indices[place])).collect();
        assert_eq!(gap.indices, kept.iter().map(|&place| whole.indices[place]).collect::<Vec<_>>());
        let images: Vec<f32> = kept
            .iter()
            .flat_map(|&place| whole.images[place * length..(place + 1) * length].to_vec())
            .collect();
        assert_eq!(*gap.images, images);
        assert_eq!(gap.skipped.len(), 4 - kept.len());
        assert!(
            gap.skipped.iter().all(|skipped| skipped.reason.contains("damaged (PNG)")),
            "{:?}",
            gap.skipped
        );
    }

    let loader =
        Loader::new(Arc::clone(&items), SMALL, LoaderOptions { bad_images: BadImages::Fail, ..options })
            .unwrap();
    for indices in [all, vec![1, 2, 3, 4, 8, 5]] {
        let first = indices.iter().find(|index| bad.contains(index)).copied().unwrap();
        let results: Vec<_> = loader.batches(indices, 0).unwrap().collect();
        let Some(Err(DataError::BadImage { path, .. })) = results.last() else { panic!("{results:?}") };
        assert_eq!(*path, items[first].path, "the first bad image is named, whichever was found first");
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    }
}

#[test]
fn a_pass_can_be_left_at_any_time() {
    let (_root, items) = items(20);
    for taken in 0..5 {
        let options = LoaderOptions { batch_size: 3, threads: 4, prefetch: 2, ..Default::default() };
        let loader = Loader::new(Arc::clone(&items), SMALL, options).unwrap();
        let mut pass = loader.batches((0..40).collect(), 0).unwrap();
        assert_eq!(pass.batch_count(), 14);
        assert_eq!(pass.by_ref().take(taken).count(), taken);
        // Returns only when all threads have ended: a hang here is the failure.
        drop(pass);
        // The threads hold the items no longer.
        drop(loader);
        assert_eq!(Arc::strong_count(&items), 1);
    }
}

#[test]
fn no_images_no_batches() {
    let (_root, items) = items(2);
    assert_eq!(batches(&items, LoaderOptions::default(), vec![]), []);
}

#[test]
fn settings_of_zero_are_refused() {
    let (_root, items) = items(2);
    for options in [
        LoaderOptions { batch_size: 0, ..Default::default() },
        LoaderOptions { prefetch: 0, ..Default::default() },
    ] {
        let error = Loader::new(Arc::clone(&items), SMALL, options).unwrap_err().to_string();
        assert!(error.contains("is 0; it must be at least 1"), "{error}");
    }
}

#[test]
fn an_index_beyond_the_items_is_refused() {
    let (_root, items) = items(2);
    let loader = Loader::new(items, SMALL, LoaderOptions::default()).unwrap();
    assert!(loader.batches(vec![0, 4], 0).is_err());
}

#[test]
fn shuffling_depends_on_seed_epoch_and_ids_alone() {
    let (_root, items) = items(30);
    let all: Vec<usize> = (0..60).collect();
    let backwards: Vec<usize> = all.iter().rev().copied().collect();
    let shuffled = |seed, epoch, indices: &[usize]| Sampler::Shuffled { seed }.of(&items, indices, epoch);
    let first = shuffled(1, 0, &all);
    assert_eq!(first, shuffled(1, 0, &backwards));
    assert_ne!(first, shuffled(1, 1, &all));
    assert_ne!(first, shuffled(2, 0, &all));
    let mut sorted = first.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
    // Without some items the others keep their order.
    let fewer: Vec<usize> = (0..60).filter(|index| index % 7 != 0).collect();
    let expected: Vec<usize> = first.iter().copied().filter(|index| index % 7 != 0).collect();
    assert_eq!(shuffled(1, 0, &fewer), expected);
    assert_eq!(Sampler::Sequential.of(&items, &backwards, 5), backwards);
}

#[test]
fn photos_with_one_and_two_threads() {
    let Some(root) = shared("data/hymenoptera") else { return };
    let items = Arc::new(folder::read(root).unwrap().items);
    let indices: Vec<usize> = (0..items.len()).step_by(5).collect();
    let options = LoaderOptions { batch_size: 16, threads: 1, ..Default::default() };
    let one = batches(&items, options, indices.clone());
    assert!(batches(&items, LoaderOptions { threads: 2, ..options }, indices) == one);
}
