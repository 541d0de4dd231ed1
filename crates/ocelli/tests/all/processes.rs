//! Several processes train the model that one does, to the bit; processes are threads here, or joined over TCP.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ocelli::distributed::{Tcp, TcpOptions, Threads};
use ocelli::event::Activity;
use ocelli::{
    Augmentation, BadImages, Epochs, Error, Event, Freezing, LrChoice, Mix, Moved, Optimizer, Phase,
    Precision, ProcessGroup, Recipe, Result, Run, RunConfig, RunEnv, TableOptions, TrainPhase, Tta, Worker,
};

/// Some of the samples, in a folder of their own: 12 photos of each of three classes, one of which is damaged.
fn photos(folder: &Path) -> PathBuf {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji");
    let photos = folder.join("photos");
    for class in ["flags", "symbols", "food-and-drink"] {
        fs::create_dir_all(photos.join(class)).unwrap();
        let mut files: Vec<PathBuf> =
            fs::read_dir(samples.join(class)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files.iter().take(12) {
            fs::copy(file, photos.join(class).join(file.file_name().unwrap())).unwrap();
        }
    }
    let damaged = photos.join("flags/damaged.png");
    let whole =
        fs::read(fs::read_dir(photos.join("flags")).unwrap().next().unwrap().unwrap().path()).unwrap();
    fs::write(damaged, &whole[..whole.len() / 2]).unwrap();
    photos
}

/// The same photos with several labels each, as a table.
fn table(folder: &Path, photos: &Path) -> PathBuf {
    let mut lines = "file,labels\n".to_owned();
    for class in ["flags", "symbols", "food-and-drink"] {
        let entries = fs::read_dir(photos.join(class)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for (number, name) in names.iter().enumerate().filter(|(_, name)| *name != "damaged.png") {
            let other = ["odd", "even"][number % 2];
            lines.push_str(&format!("{class}/{name},{class} {other}\n"));
        }
    }
    let table = folder.join("labels.csv");
    fs::write(&table, lines).unwrap();
    table
}

fn train(freezing: Freezing, epochs: usize) -> Phase {
    Phase::Train(TrainPhase {
        freezing,
        lr: LrChoice::Fixed(1e-2.into()),
        schedule: Epochs(epochs).into(),
        optimizer: None,
    })
}

/// Layers of the backbone, at a low rate.
fn fine_tune(freezing: Freezing) -> Phase {
    Phase::Train(TrainPhase {
        freezing,
        lr: LrChoice::Fixed(1e-3.into()),
        schedule: Epochs(1).into(),
        optimizer: None,
    })
}

/// Small batches, so that there are more of them than processes.
fn config(data: &Path, phases: Vec<Phase>) -> RunConfig {
    let mut config = RunConfig::new(data);
    (config.size, config.batch_size) = (32, 4);
    config.augmentation = Some(Augmentation::side_on());
    config.bad_images = BadImages::Skip;
    config.recipe = Recipe::from(phases);
    config
}

const CACHED: Freezing = Freezing::Cached { frozen: 2, augmented_copies: 0 };
const COPIES: Freezing = Freezing::Cached { frozen: 2, augmented_copies: 2 };
const STREAMED: Freezing = Freezing::Streamed { frozen: 2 };

/// What a process of a job does: it trains, or resumes a run.
struct Job<'a> {
    /// The settings of each rank, or the run that is resumed.
    settings: &'a (dyn Fn(usize) -> Option<RunConfig> + Sync),
    out: &'a Path,
    cache: &'a (dyn Fn(usize) -> PathBuf + Sync),
    /// Asks a rank to stop, by the number of training batches so far.
    stops: &'a (dyn Fn(usize, usize) -> bool + Sync),
}

impl Job<'_> {
    fn run(&self, processes: ProcessGroup) -> Result<()> {
        let rank = processes.rank();
        let result = self.run_as(rank, &processes);
        match &result {
            Ok(()) | Err(Error::Stopped) => processes.finish()?,
            Err(error) => processes.abort(&error.to_string()),
        }
        result
    }

    fn run_as(&self, rank: usize, processes: &ProcessGroup) -> Result<()> {
        let settings = (self.settings)(rank);
        let new = rank == 0 && settings.is_some();
        let out = new.then(|| self.out.to_owned());
        let cache = Some((self.cache)(rank));
        let env = RunEnv { out, cache, threads: 1, processes: processes.clone(), ..RunEnv::default() };
        let steps = Arc::new(AtomicUsize::new(0));
        // Nothing else of `self` outlives an observer.
        let limit = (0..1000).find(|step| (self.stops)(rank, *step));
        let observer = move |event: &Event| {
            let counts =
                matches!(event, Event::Progress(progress) if progress.activity == Activity::Training);
            let steps = steps.fetch_add(usize::from(counts), Ordering::Relaxed) + usize::from(counts);
            if limit.is_some_and(|limit| steps >= limit) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        if rank == 0 {
            let mut run = match &settings {
                Some(settings) => Run::prepare(settings, &env)?,
                None => Run::resume(self.out, &env, &Moved::default())?,
            };
            run.observe(observer);
            run.run().map(|_| ())
        } else {
            let mut worker = match &settings {
                Some(settings) => Worker::prepare(settings, &env)?,
                None => Worker::resume(self.out, &env, &Moved::default())?,
            };
            worker.observe(observer);
            worker.run()
        }
    }

    /// By threads.
    fn by_threads(&self, size: usize) -> Vec<Result<()>> {
        let groups: Vec<ProcessGroup> = Threads::of(size).into_iter().map(ProcessGroup::new).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = groups.into_iter().map(|group| scope.spawn(|| self.run(group))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn by_tcp(&self, size: usize) -> Vec<Result<()>> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        std::thread::scope(|scope| {
            let join = |rank: usize| {
                let options = TcpOptions::new(&address, rank, size, "a token");
                scope.spawn(move || self.run(ProcessGroup::new(Tcp::join(&options).unwrap())))
            };
            let threads: Vec<_> = (0..size).map(join).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }
}

/// What must be the same: the model's file, the predictions, the skipped images, and the history but for times.
fn result(run: &Path) -> [String; 4] {
    let hash = |name: &str| blake3::hash(&fs::read(run.join(name)).unwrap()).to_hex().to_string();
    let mut skipped: Vec<String> =
        fs::read_to_string(run.join("skipped.csv")).unwrap().lines().map(str::to_owned).collect();
    skipped.sort();
    let history = fs::read_to_string(run.join("history.csv")).unwrap();
    let history: Vec<&str> = history.lines().map(|line| line.rsplit_once(',').unwrap().0).collect();
    [hash("model.safetensors"), hash("predictions.csv"), skipped.join("\n"), history.join("\n")]
}

fn never(_: usize, _: usize) -> bool {
    false
}

#[test]
fn any_number_of_processes_trains_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let tta = |tta| Phase::Tta(tta);
    let mut mixed = config(&photos, vec![train(STREAMED, 2)]);
    mixed.train.mix = Some(Mix::Mixup { alpha: 0.4 });
    mixed.balanced_sampling = true;
    let mut several = config(&table(folder.path(), &photos), vec![train(CACHED, 2), tta(Tta::views(2))]);
    several.table = Some(TableOptions { folder: Some(photos.clone()), ..TableOptions::default() });
    let mut averaged = config(&photos, vec![train(STREAMED, 2)]);
    averaged.train.swa_start = Some(0);
    // Two pieces of a batch: for seven processes too few.
    let frozen = |frozen| Freezing::Streamed { frozen };
    let mut unfrozen = config(&photos, vec![train(CACHED, 1), fine_tune(frozen(0)), fine_tune(frozen(1))]);
    unfrozen.recipe.phases.push(fine_tune(Freezing::Cached { frozen: 1, augmented_copies: 0 }));
    (unfrozen.train.micro_batch, unfrozen.train.accumulate_steps) = (Some(2), 2);
    unfrozen.train.max_grad_norm = Some(0.5);
    let mut rounded = unfrozen.clone();
    rounded.train.exchange_precision = Precision::Bf16;
    let recipes = [
        (
            "cached, copies, streamed, views",
            config(&photos, vec![train(CACHED, 2), train(COPIES, 2), train(STREAMED, 2), tta(Tta::views(2))]),
        ),
        ("corners", config(&photos, vec![train(CACHED, 2), tta(Tta::corners())])),
        ("mixup, balanced", mixed),
        ("averaged weights", averaged),
        ("several labels", several),
        ("all layers", unfrozen),
        ("all layers, gradients in bf16", rounded),
    ];
    for (number, (recipe, settings)) in recipes.iter().enumerate() {
        let at = |name: &str| folder.path().join(format!("{number}-{name}"));
        let job = |out: &Path, cache: &(dyn Fn(usize) -> PathBuf + Sync), size: usize, tcp: bool| {
            let job = Job { settings: &|_| Some(settings.clone()), out, cache, stops: &never };
            let results = if tcp { job.by_tcp(size) } else { job.by_threads(size) };
            results.into_iter().for_each(|result| result.unwrap());
            let found = result(out);
            // A run has a hundred megabytes.
            fs::remove_dir_all(out).unwrap();
            found
        };
        let alone = job(&at("alone"), &|_| at("cache-alone"), 1, false);
        assert!(alone[2].contains("damaged.png") || recipe.contains("labels"), "{}", alone[2]);
        // Every number of processes for the first recipe, the others less often.
        let sizes: &[usize] = match *recipe {
            "all layers" => &[2, 3, 7],
            _ if number == 0 => &[2, 3, 4, 7],
            _ => &[3],
        };
        for &size in sizes {
            let out = at(&format!("{size}"));
            // Each process has a cache of its own.
            let own = job(&out, &|rank| at(&format!("cache-{size}-{rank}")), size, false);
            assert_eq!(own, alone, "{recipe}, {size} processes");
        }
        if number == 0 {
            // One cache for all, over TCP; and one in which the first has everything, the others nothing.
            assert_eq!(job(&at("tcp"), &|_| at("cache-tcp"), 3, true), alone, "{recipe}, over TCP");
            let cache =
                |rank: usize| if rank == 1 { at("cache-alone") } else { at(&format!("cache-part-{rank}")) };
            assert_eq!(job(&at("part"), &cache, 3, false), alone, "{recipe}, features of rank 1's cache");
        }
    }
}

#[test]
fn each_photo_is_decoded_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let settings = config(&photos(folder.path()), vec![train(CACHED, 1)]);
    let cache = |rank: usize| folder.path().join(format!("cache-{rank}"));
    let out = folder.path().join("out");
    let job = Job { settings: &|_| Some(settings.clone()), out: &out, cache: &cache, stops: &never };
    job.by_threads(3).into_iter().for_each(|result| result.unwrap());
    // What each has written is what it has computed.
    let mut written = BTreeSet::new();
    let mut counts = [0; 3];
    for (rank, count) in counts.iter_mut().enumerate() {
        let folders = fs::read_dir(cache(rank).join("activations")).unwrap();
        for shard in folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap()) {
            let bytes = fs::read(shard.unwrap().path()).unwrap();
            let shard = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            for digest in shard.tensor("images").unwrap().data().chunks(32) {
                assert!(written.insert(digest.to_vec()), "rank {rank} has computed what another has");
                *count += 1;
            }
        }
    }
    assert!(written.len() >= 30, "{counts:?}");
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 4 * 2, "{counts:?}");
}

#[test]
fn a_stopped_run_is_resumed_by_another_number_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        config(&photos(folder.path()), vec![train(CACHED, 2), train(STREAMED, 3), Phase::Tta(Tta::views(1))]);
    let cache = |_: usize| folder.path().join("cache");
    let new = |_: usize| Some(settings.clone());
    let alone = folder.path().join("alone");
    Job { settings: &new, out: &alone, cache: &cache, stops: &never }.by_threads(1).remove(0).unwrap();
    let expected = result(&alone);
    // Whichever process is asked, all stop: while the head trains on features, and while photos are streamed.
    for (first, then, rank, step) in [(3, 2, 2, 3), (2, 1, 0, 18), (1, 3, 0, 18), (4, 2, 1, 20)] {
        let out = folder.path().join(format!("{first}-{then}"));
        let stops = |asked: usize, steps: usize| asked == rank && steps >= step;
        for result in (Job { settings: &new, out: &out, cache: &cache, stops: &stops }).by_threads(first) {
            assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
        }
        assert!(!out.join("model.safetensors").exists(), "it has not stopped");
        let job = Job { settings: &|_| None, out: &out, cache: &cache, stops: &never };
        job.by_threads(then).into_iter().for_each(|result| result.unwrap());
        assert_eq!(result(&out), expected, "{first} processes, then {then}");
        fs::remove_dir_all(&out).unwrap();
    }
}

/// Each process has the optimizer's state of some parameters: together they must save and read all of it.
#[test]
fn the_state_of_all_layers_is_saved_by_any_number_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let cache = |_: usize| folder.path().join("cache");
    // SGD has one moment, AdamW two; gradients of two batches are added up.
    for (optimizer, accumulate) in [(Optimizer::ADAM_W, 2), (Optimizer::SGD, 1)] {
        let mut all_layers = fine_tune(Freezing::Streamed { frozen: 0 });
        if let Phase::Train(phase) = &mut all_layers {
            (phase.optimizer, phase.schedule) = (Some(optimizer), Epochs(2).into());
        }
        let mut settings = config(&photos, vec![all_layers]);
        (settings.train.micro_batch, settings.train.accumulate_steps) = (Some(2), accumulate);
        if optimizer == Optimizer::SGD {
            settings.train.exchange_precision = Precision::Bf16;
        }
        let new = |_: usize| Some(settings.clone());
        let alone = folder.path().join("alone");
        Job { settings: &new, out: &alone, cache: &cache, stops: &never }.by_threads(1).remove(0).unwrap();
        let expected = result(&alone);
        fs::remove_dir_all(&alone).unwrap();
        // Stopped within both epochs, after a step and between two.
        for (first, then, step) in [(3, 2, 3), (2, 1, 4), (1, 3, 11), (3, 4, 12)] {
            let out = folder.path().join(format!("{accumulate}-{first}-{then}"));
            let stops = |asked: usize, steps: usize| asked == 0 && steps >= step;
            for result in (Job { settings: &new, out: &out, cache: &cache, stops: &stops }).by_threads(first)
            {
                assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
            }
            let job = Job { settings: &|_| None, out: &out, cache: &cache, stops: &never };
            job.by_threads(then).into_iter().for_each(|result| result.unwrap());
            assert_eq!(result(&out), expected, "{optimizer:?}: {first} processes, then {then}, step {step}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn what_differs_between_processes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let settings = config(&photos, vec![train(CACHED, 1)]);
    let cache = |_: usize| folder.path().join("cache");
    let run = |name: &str, of_rank: &(dyn Fn(usize) -> RunConfig + Sync)| {
        let out = folder.path().join(name);
        let settings = |rank: usize| Some(of_rank(rank));
        let results = Job { settings: &settings, out: &out, cache: &cache, stops: &never }.by_threads(2);
        assert!(!out.join("config.toml").exists(), "{name}: the run has begun");
        results.into_iter().map(|result| result.unwrap_err().to_string()).collect::<Vec<_>>()
    };
    let seeds = run("seed", &|rank| RunConfig { seed: rank as u64, ..settings.clone() });
    assert!(
        seeds[0].contains("a setting differs: seed = 0 in process 0, seed = 1 in process 1"),
        "{seeds:?}"
    );
    let fewer = folder.path().join("fewer");
    for class in ["flags", "symbols", "food-and-drink"] {
        fs::create_dir_all(fewer.join(class)).unwrap();
        for entry in fs::read_dir(photos.join(class)).unwrap().skip(1) {
            let path = entry.unwrap().path();
            fs::copy(&path, fewer.join(class).join(path.file_name().unwrap())).unwrap();
        }
    }
    let data = |rank: usize| if rank == 1 { fewer.clone() } else { photos.clone() };
    let counts = run("data", &|rank| RunConfig { data: data(rank), ..settings.clone() });
    assert!(
        counts[0].contains("the data differs: 37 images in process 0, 34 images in process 1"),
        "{counts:?}"
    );
    // A photo with other content, under the same name.
    let changed = folder.path().join("changed");
    for class in ["flags", "symbols", "food-and-drink"] {
        fs::create_dir_all(changed.join(class)).unwrap();
        let mut files: Vec<PathBuf> =
            fs::read_dir(photos.join(class)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for (at, path) in files.iter().enumerate() {
            let from = if class == "symbols" && at == 3 { &files[4] } else { path };
            fs::copy(from, changed.join(class).join(path.file_name().unwrap())).unwrap();
        }
    }
    let data = |rank: usize| if rank == 1 { changed.clone() } else { photos.clone() };
    let content = run("content", &|rank| RunConfig { data: data(rank), ..settings.clone() });
    assert!(content[0].contains("the content of images, their labels or the split differs"), "{content:?}");
    // The place of the same photos does not matter; the error of one ends all.
    let missing = |rank: usize| if rank == 1 { folder.path().join("nowhere") } else { photos.clone() };
    let missing = run("missing", &|rank| RunConfig { data: missing(rank), ..settings.clone() });
    assert!(missing[0].starts_with("rank 1 on ") && missing[0].contains("nowhere"), "{missing:?}");
}

#[test]
fn pieces_of_a_batch_train_what_the_whole_does() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let losses = |micro_batch: Option<usize>, exchanged: Precision| {
        let phases = vec![train(CACHED, 1), fine_tune(Freezing::Streamed { frozen: 0 })];
        let mut settings = config(&photos, phases);
        settings.precision = Some(Precision::F32);
        (settings.train.micro_batch, settings.train.exchange_precision) = (micro_batch, exchanged);
        settings.train.max_grad_norm = Some(0.5);
        let out = folder.path().join(format!("{micro_batch:?}-{exchanged}"));
        let cache = |_: usize| folder.path().join("cache");
        let job = Job { settings: &|_| Some(settings.clone()), out: &out, cache: &cache, stops: &never };
        job.by_threads(1).remove(0).unwrap();
        let history = fs::read_to_string(out.join("history.csv")).unwrap();
        let row: Vec<f64> =
            history.lines().last().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(row[..2], [2.0, 1.0]);
        [row[2], row[3]]
    };
    let whole = losses(None, Precision::F32);
    let are_close = |pieces: [f64; 2], within: f64| {
        whole.iter().zip(pieces).all(|(whole, pieces)| (whole - pieces).abs() < within * whole.abs())
    };
    let mut exact = Vec::new();
    for size in [1, 4, 6, 100] {
        let pieces = losses(Some(size), Precision::F32);
        assert!(are_close(pieces, 1e-3), "{size}: {pieces:?}, {whole:?}");
        exact.push(pieces);
    }
    let rounded = losses(Some(4), Precision::Bf16);
    assert!(are_close(rounded, 1e-2) && !exact.contains(&rounded), "{rounded:?}, {whole:?}");
}

#[test]
fn layers_of_the_backbone_are_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let phases = vec![train(CACHED, 1), train(Freezing::Streamed { frozen: 0 }, 1)];
    // There are no photos: nothing has been read when the recipe is refused.
    let settings = config(&folder.path().join("none"), phases);
    let out = folder.path().join("out");
    let cache = |_: usize| folder.path().join("cache");
    let job = Job { settings: &|_| Some(settings.clone()), out: &out, cache: &cache, stops: &never };
    for result in job.by_threads(2) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("phase 2 trains layers of the backbone"), "{error}");
    }
}
