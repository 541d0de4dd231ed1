//! `ocelli train`

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ocelli::report::{ReportOptions, report_run};
use ocelli::{
    Arch, ClassWeights, ImageData, Interpretation, Items, MAX_THREADS, Method, Metric, Mix, Moved, OneCycle,
    Optimizer, Outcome, Phase, Places, Predictions, Preset, RecipeBuilder, Settings, Sgdr, Task, Thresholds,
    TrainPhase, Training, WeightStore, default_cache,
};

use crate::Failure;
use crate::arguments::{AtEnd, Change, Rule, Train, Tuned};
use crate::interrupt;
use crate::output::{eprintln, path_line, println, quoted, shown};
use crate::pull::fetched;
use crate::report::stoppable;
use crate::source::{augmentation, channels};
use crate::terminal::{self, Terminal};
use crate::words::{brief, count, counted, duration};

pub fn run(arguments: &Train) -> Result<(), Failure> {
    use_threads(arguments.machine.threads)?;
    let cache = match &arguments.machine.cache {
        Some(folder) => folder.clone(),
        None => default_cache()?,
    };
    let places = Places {
        out: arguments.out.clone(),
        cache: Some(cache.clone()),
        device: arguments.machine.device,
        threads: arguments.machine.threads,
        given: std::env::args_os().map(|word| quoted(&word)).collect::<Vec<_>>().join(" "),
    };
    let quiet = arguments.machine.quiet;
    let settings = if arguments.resume.is_some() { None } else { Some(settings(arguments)?) };
    let idle = settings.iter().flat_map(|settings| without_effect(arguments, settings));
    idle.for_each(|idle| eprintln!("{idle}"));
    let prepare = || match (&settings, &arguments.resume) {
        (Some(settings), _) => Training::prepare(settings, &places),
        (None, run) => {
            let moved =
                Moved { data: arguments.moved_to.clone(), without_changed: arguments.without_changed };
            Training::resume(run.as_deref().unwrap_or(Path::new(".")), &places, &moved)
        }
    };
    let training = match prepare() {
        // By now the photos are known to be usable, so that the transfer is not in vain.
        Err(ocelli::Error::NoWeights { architecture, .. }) => {
            fetched(&WeightStore::with_cache(&cache), architecture.parse()?, quiet)?;
            prepare()
        }
        // All but the report is there: the process was ended while it wrote that.
        Err(ocelli::Error::Finished { path, model }) if !path.join("report.html").exists() => {
            let stop = watch_for_interrupt()?;
            let report = stoppable(report_run(&path, report_options(&cache, arguments, stop)))?;
            if quiet {
                path_line(&model);
            } else {
                println!(
                    "this run is finished; its report was missing, and is written: {}",
                    shown(report.page.display())
                );
            }
            return Ok(());
        }
        training => training,
    };
    let mut training = match (training, &arguments.resume) {
        (Err(error), Some(run)) => return Err(with_a_way_on(error, run, arguments.moved_to.as_deref())),
        (training, _) => training?,
    };
    if !quiet {
        let precision = training.learner().network().precision();
        println!(
            "ocelli {} · {}\n",
            env!("CARGO_PKG_VERSION"),
            terminal::machine(arguments.machine.device, precision)
        );
        terminal::introduce(&training);
    } else {
        // Warnings are no part of what is not wanted.
        let warnings =
            training.learner().data().notices().iter().filter(|notice| notice.starts_with("warning"));
        warnings.for_each(|warning| eprintln!("{}", shown(warning)));
    }
    training.observe(Terminal::new(quiet, arguments.machine.verbose));
    let stop = watch_for_interrupt()?;
    training.observe(interrupt::observer());
    match training.run() {
        Err(ocelli::Error::Stopped) => {
            let run = training.run_folder().path();
            eprintln!("stopped; all is kept. To go on:  ocelli train --resume {}", quoted(run.as_os_str()));
            Err(Failure::Interrupted)
        }
        Err(error) => {
            let run = quoted(training.run_folder().path().as_os_str());
            // Where photos are what is the matter, or the rates, the run would end there again.
            let lost = matches!(error, ocelli::Error::Diverged { .. } | ocelli::Error::NoFiniteEpoch { .. });
            let kept = match training.has_checkpoint() && !lost && crate::advice(&error).is_none() {
                true => format!("\n       to go on:  ocelli train --resume {run}"),
                false => String::new(),
            };
            match Failure::from(error) {
                Failure::Error(error) => Err(Failure::Error(format!("{error}{kept}"))),
                failure => Err(failure),
            }
        }
        Ok(outcome) => {
            if !quiet {
                conclude(&outcome, training.learner().data());
            }
            let options = report_options(&cache, arguments, stop);
            let began = Instant::now();
            // The model is what counts: without its report the run is still done.
            let report = match report_run(training.run_folder().path(), options) {
                Ok(report) => format!("   report {}", shown(report.page.display())),
                Err(ocelli::Error::Stopped) => {
                    let run = quoted(training.run_folder().path().as_os_str());
                    let model = shown(outcome.model.display());
                    eprintln!("stopped; the model is done: {model}. Its report:  ocelli report {run}");
                    return Err(Failure::Interrupted);
                }
                Err(error) => {
                    eprintln!("   note: no report was written: {}", shown(error));
                    String::new()
                }
            };
            if quiet {
                path_line(&outcome.model);
            } else {
                let reporting = began.elapsed().as_secs_f64();
                println!(
                    "done in {}, {} of it for the report   model {}{report}",
                    duration(outcome.seconds + reporting),
                    duration(reporting),
                    shown(outcome.model.display())
                );
                println!("next:  ocelli predict {} PHOTO…", quoted(outcome.model.as_os_str()));
            }
            Ok(())
        }
    }
}

/// Why a run cannot be resumed, and with which flags it can.
fn with_a_way_on(error: ocelli::Error, run: &Path, moved_to: Option<&Path>) -> Failure {
    use ocelli::DataError::{Missing, NoClassFolders, NoImages, NotAFolder};

    let (when, flag) = match &error {
        ocelli::Error::PhotosChanged { .. } => {
            let moved =
                moved_to.map_or_else(String::new, |data| format!(" --data {}", quoted(data.as_os_str())));
            ("to go on without them", format!("--without-changed{moved}"))
        }
        ocelli::Error::Data(Missing { .. } | NoImages { .. } | NotAFolder { .. } | NoClassFolders { .. }) => {
            ("where they have been moved", "--data FOLDER".to_owned())
        }
        _ => return error.into(),
    };
    let run = quoted(run.as_os_str());
    Failure::Error(format!("{}\n       {when}:  ocelli train --resume {run} {flag}", shown(error)))
}

/// How the report at the end of a run is made.
fn report_options(cache: &Path, arguments: &Train, stop: Arc<AtomicBool>) -> ReportOptions {
    ReportOptions {
        cache: Some(cache.to_owned()),
        threads: arguments.machine.threads,
        only_kept_activations: true,
        data: arguments.moved_to.clone(),
        stop: Some(stop),
        ..ReportOptions::default()
    }
}

/// What the run came to, with its uncertainty, and what it gets wrong.
fn conclude(outcome: &Outcome, data: &ImageData) {
    let predictions = &outcome.predictions;
    println!();
    if predictions.is_empty() {
        println!("nothing was held out, so how good the model is was not measured");
        return;
    }
    let lines: Vec<(Metric, &str)> = match predictions.task() {
        Task::SingleLabel => vec![(Metric::Accuracy, ""), (Metric::LogLoss, "")],
        Task::MultiLabel => {
            let f1 = Metric::usual(Task::MultiLabel);
            vec![(f1, "over all labels"), (Metric::LabelAccuracy, "of each label of each image")]
        }
    };
    let mut lines = lines;
    if !lines.iter().any(|(metric, _)| *metric == outcome.metric) {
        lines.insert(0, (outcome.metric, ""));
    }
    let sets = [("", Some(predictions)), ("  with test-time augmentation", outcome.augmented.as_ref())];
    for (name, predictions) in sets {
        let Some(predictions) = predictions else { continue };
        for (metric, more) in &lines {
            let measured = predictions.estimate(*metric);
            let (low, high) = measured.interval;
            let right = match metric {
                Metric::Accuracy => {
                    let share = predictions.accuracy();
                    format!("{} of {} right", count(share.count), counted(share.total, "validation image"))
                }
                _ => (*more).to_owned(),
            };
            let line = format!(
                "{:<14} {:.4}   95 % interval {low:.4} … {high:.4}   {right}",
                metric.to_string(),
                measured.value
            );
            println!("{}{name}", line.trim_end());
        }
    }
    if let Some(line) = unmeasured(predictions, data.classes()) {
        println!("{line}");
    }
    let used = outcome.augmented.as_ref().unwrap_or(predictions);
    let baseline = data.baseline(used.items());
    if !used.is_shown_better(&baseline, outcome.metric) {
        let same = match used.task() {
            Task::SingleLabel => {
                let class = shown(&data.classes()[baseline.predicted_labels(0)[0]]);
                format!("always saying {class}, the most frequent class")
            }
            Task::MultiLabel => "the same labels for every image".to_owned(),
        };
        let (metric, value) = (outcome.metric, baseline.value_watched(outcome.metric));
        let advice = match metric.is_better(used.value_watched(metric), value) {
            true => "it is, on these images, but they are too few to tell: hold out more",
            false => "more epochs, larger images or more photos may help",
        };
        println!("not shown to be better than {same}: {metric} {value:.4}; {advice}");
    }
    if let Some(mistakes) = mistakes(used, data.items()) {
        println!("most often wrong   {mistakes}");
    }
    if let Some(thresholds) = &outcome.thresholds {
        let lowest = thresholds.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = thresholds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (each, from) = match lowest == highest {
            true => ("a label", format!("{lowest:.2}")),
            false => ("each label", format!("its own, {lowest:.2} to {highest:.2},")),
        };
        println!(
            "{each} is given from a probability of {from} on, tuned to {} on these images",
            outcome.metric
        );
    }
}

/// The classes that nothing was measured on, since none of the measured images has them; nothing where there are none.
pub fn unmeasured(predictions: &Predictions, classes: &[String]) -> Option<String> {
    let measured: HashSet<usize> =
        predictions.targets().iter().flat_map(|target| target.classes().iter().copied()).collect();
    let without: Vec<&String> =
        (0..classes.len()).filter(|class| !measured.contains(class)).map(|class| &classes[class]).collect();
    let named = without.iter().take(UNMEASURED).map(shown).collect::<Vec<_>>().join(", ");
    let more = if without.len() > UNMEASURED { ", …" } else { "" };
    (!without.is_empty()).then(|| {
        let of = counted(classes.len(), "class");
        format!(
            "not measured   {} of {of}, of which there is no image here: {named}{more}",
            count(without.len())
        )
    })
}

/// Classes without measured images that are named.
const UNMEASURED: usize = 5;

/// `cats said to be dogs 12 of 1,000 · …`; nothing where images have several classes, or all are right.
fn mistakes(predictions: &Predictions, items: &Items) -> Option<String> {
    let confused = Interpretation::new(predictions.clone(), items).most_confused(1).ok()?;
    let pairs = confused.into_iter().take(MISTAKES).map(|pair| {
        let name = |class: &String| brief(&shown(class));
        let (truth, predicted, of) = (name(&pair.truth), name(&pair.predicted), count(pair.of));
        format!("{truth} said to be {predicted} {} of {of}", count(pair.count))
    });
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty()).then(|| pairs.join(" · "))
}

/// Pairs of classes that are named.
const MISTAKES: usize = 3;

fn settings(arguments: &Train) -> Result<Settings, Failure> {
    let mut settings = match (&arguments.config, &arguments.data) {
        (Some(path), _) => Settings::read(path)?,
        (None, data) => Settings::new(data.clone().unwrap_or_default()),
    };
    if let Some(data) = &arguments.data {
        (settings.data, settings.table) = arguments.source.data(data);
    }
    if arguments.data.is_none() && arguments.source.tells_of_a_table() {
        return Err(Failure::Error("what is said of a table of labels needs the photos beside --config: ocelli train DATA --config …".to_owned()));
    }
    settings.groups = arguments.source.groups().or(settings.groups);
    if let Some(name) = &arguments.arch {
        let arch: Arch = name.parse()?;
        settings.architecture = arch.to_string();
        settings.size = arch.info().size;
    }
    if let Some(held_out) = arguments.source.held_out()? {
        settings.held_out = Some(held_out);
    }
    if let Some(weights) = &arguments.weights {
        settings.weights = Some(weights.clone());
    }
    if let Some(framing) = arguments.framing {
        settings.framing = framing.framing();
    }
    if let Some(decisions) = &arguments.decisions {
        settings.decisions = Some(decisions.clone());
    }
    if let Some(bad) = arguments.bad_images {
        settings.bad_images = bad.policy();
    }
    settings.method = method(arguments, settings.method)?;
    settings.bn_freeze &= !arguments.batch_statistics;
    settings.balanced |= arguments.balanced;
    settings.max_pixels = arguments.source.max_pixels.or(settings.max_pixels);
    let channels = channels(&arguments.source.bands, &arguments.source.range)?;
    settings.channels.bands = channels.bands.or(settings.channels.bands);
    settings.channels.range = channels.range.or(settings.channels.range);
    settings.batch_size = arguments.batch.unwrap_or(settings.batch_size);
    settings.seed = arguments.seed.unwrap_or(settings.seed);
    settings.metric = arguments.metric.or(settings.metric);
    settings.precision = arguments.machine.precision.precision().or(settings.precision);
    settings.patience = arguments.patience.or(settings.patience);
    if let Some(thresholds) = arguments.thresholds {
        settings.thresholds = match thresholds {
            Tuned::One => Thresholds::One,
            Tuned::PerClass => Thresholds::PerClass,
        };
    }
    let preset = arguments.recipe.unwrap_or_default();
    if !arguments.augment.is_empty() {
        settings.augmentation = augmentation(&arguments.augment);
    } else if arguments.config.is_none() {
        settings.augmentation = preset.augmentation();
    }
    if arguments.config.is_none() || changes_recipe(arguments) {
        let sizes = if arguments.size.is_empty() { vec![settings.size] } else { arguments.size.clone() };
        settings.size = sizes[0];
        settings.recipe = recipe(arguments, preset, &sizes, settings.augmentation.is_some())?.build();
    }
    Ok(settings)
}

/// What was asked for, and no step of the recipe has a use for.
fn without_effect(arguments: &Train, settings: &Settings) -> Vec<String> {
    let trained = settings.recipe.phases.iter().filter_map(|phase| match phase {
        Phase::Train(train) => Some(train),
        _ => None,
    });
    let trained: Vec<&TrainPhase> = trained.collect();
    let any = |wanted: &dyn Fn(&TrainPhase) -> bool| trained.iter().any(|phase| wanted(phase));
    let live = any(&|phase| !phase.freezing.is_cached());
    let views = any(&|phase| phase.freezing.augmented_copies() > 0);
    let unfrozen = any(&|phase| phase.freezing.frozen() < 2);
    let changes = arguments.augment.iter().any(|change| *change != Change::None);
    let asked = [
        ("--augment", changes && !live && !views, "trains on changed photos"),
        ("--views", arguments.views.is_some_and(|views| views > 0) && !views, "trains on precomputed views"),
        ("--mixup", arguments.mixup.is_some() && !live, "reads photos as it trains"),
        ("--cutmix", arguments.cutmix.is_some() && !live, "reads photos as it trains"),
        ("--spread", arguments.spread.is_some() && !unfrozen, "trains more than the head"),
        ("--batch-statistics", arguments.batch_statistics && !unfrozen, "trains more than the head"),
        ("--lr with three rates", arguments.lr.len() == 3 && !unfrozen, "trains more than the head"),
    ];
    let told = asked.into_iter().filter(|(_, idle, _)| *idle);
    told.map(|(flag, _, use_)| format!("warning: {flag} has no effect: no step of this recipe {use_}"))
        .collect()
}

/// How weights move, with what was asked for.
fn method(arguments: &Train, mut method: Method) -> Result<Method, Failure> {
    if let Some(rule) = arguments.optimizer {
        method.optimizer = rule.optimizer();
    }
    if let Some(decay) = arguments.weight_decay {
        method.weight_decay = decay.into();
    }
    method.loss.label_smoothing = arguments.label_smoothing.unwrap_or(method.loss.label_smoothing);
    method.loss.focal_gamma = arguments.focal.unwrap_or(method.loss.focal_gamma);
    match arguments.class_weights.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["equal"] => method.loss.class_weights = ClassWeights::Equal,
        ["balanced"] => method.loss.class_weights = ClassWeights::Balanced,
        ref numbers => {
            let weights: Result<Vec<f64>, _> = numbers.iter().map(|number| number.parse()).collect();
            let Ok(weights) = weights else {
                return Err(Failure::Error(format!(
                    "--class-weights {} is neither equal nor balanced nor a number a class, such as 1,2,1",
                    numbers.join(",")
                )));
            };
            method.loss.class_weights = ClassWeights::Given(weights);
        }
    }
    let mixup = arguments.mixup.map(|alpha| Mix::Mixup { alpha });
    method.mix = mixup.or(arguments.cutmix.map(|alpha| Mix::CutMix { alpha })).or(method.mix);
    method.clip = arguments.clip.or(method.clip);
    method.accumulate = arguments.accumulate.unwrap_or(method.accumulate);
    method.ema = arguments.ema.or(method.ema);
    method.swa = arguments.swa.or(method.swa);
    Ok(method)
}

/// Whether anything is given that a recipe follows from.
fn changes_recipe(arguments: &Train) -> bool {
    let Train {
        recipe, epochs, augmented_epochs, views, unfrozen_epochs, cycles, lr, spread, tta, size, ..
    } = arguments;
    let numbers = [epochs, augmented_epochs, views, unfrozen_epochs, cycles];
    recipe.is_some()
        || numbers.into_iter().any(Option::is_some)
        || !lr.is_empty()
        || !size.is_empty()
        || spread.is_some()
        || tta.is_some()
}

fn recipe(
    arguments: &Train,
    preset: Preset,
    sizes: &[usize],
    augmented: bool,
) -> Result<RecipeBuilder, Failure> {
    let mut recipe = RecipeBuilder::new(preset, sizes[0]).then_sizes(sizes[1..].iter().copied());
    recipe = recipe.augmented(augmented);
    recipe = match arguments.lr[..] {
        [] => recipe,
        [lr] => recipe.head_lr(lr),
        [early, late, head] => recipe.full_lrs([early, late, head]),
        _ => {
            return Err(Failure::Error(format!(
                "--lr has {} rates; it takes one, for the head, or three, for early layers, late layers and head",
                arguments.lr.len()
            )));
        }
    };
    if let Some(epochs) = arguments.epochs {
        recipe = recipe.head_epochs(epochs);
    }
    if let Some(epochs) = arguments.augmented_epochs {
        recipe = recipe.augmented_epochs(epochs);
    }
    if let Some(copies) = arguments.views {
        recipe = recipe.augmented_copies(copies);
    }
    if let Some(epochs) = arguments.unfrozen_epochs {
        recipe = recipe.full_schedule(OneCycle::epochs(epochs));
    } else if let Some(cycles) = arguments.cycles {
        recipe =
            recipe.full_schedule(Sgdr::cycles(cycles).len(arguments.cycle_len).mult(arguments.cycle_mult));
    }
    if let Some(decay) = arguments.spread {
        recipe = recipe.lr_decay(decay);
    }
    if let Some(at_end) = arguments.tta {
        recipe = recipe.tta(match at_end {
            AtEnd::Nothing => None,
            AtEnd::Views(tta) => Some(tta),
        });
    }
    Ok(recipe)
}

impl Rule {
    pub fn optimizer(self) -> Optimizer {
        match self {
            Self::Sgd => Optimizer::SGD,
            Self::Nesterov => Optimizer::Sgd { momentum: 0.9, nesterov: true },
            Self::AdamW => Optimizer::ADAM_W,
            Self::RmsProp => Optimizer::RMS_PROP,
            Self::AdaGrad => Optimizer::ADA_GRAD,
            Self::Lion => Optimizer::LION,
        }
    }
}

/// The kernels' threads; those that decode are the loader's own.
pub fn use_threads(threads: usize) -> Result<(), Failure> {
    if threads > MAX_THREADS {
        let most =
            format!("--threads is {threads}; it must be at most {MAX_THREADS}, 0 is one for each core");
        return Err(Failure::Error(most));
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    Ok(())
}

/// From now on a signal ends the work after the batch at hand. The flag tells of it.
pub fn watch_for_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    interrupt::finish("this batch");
    Ok(interrupt::flag())
}
