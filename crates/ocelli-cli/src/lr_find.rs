//! `ocelli lr-find`

use std::path::Path;

use crate::output::{self, eprintln, free_of, message, println, shown};
use ocelli::{
    Arch, Finding, Growth, Learner, LearningRates, LrCurve, LrFind as Search, Method, Places, Settings,
    Suggestion, WeightStore, default_cache, outside,
};

use crate::Failure;
use crate::arguments::{Layers, LrFind};
use crate::interrupt;
use crate::pull::fetched;
use crate::source::{augmentation, channels};
use crate::terminal::{Terminal, fastais};
use crate::train::{use_threads, watch_for_interrupt};

pub fn run(arguments: &LrFind) -> Result<(), Failure> {
    use_threads(arguments.machine.threads)?;
    let search = search(arguments)?;
    let quiet = arguments.machine.quiet || arguments.json;
    let mut learner = learner(arguments, quiet)?;
    let (out, said) = match &arguments.out {
        Some(out) => (out.clone(), None),
        None => outside("", &learner.data().folders())?,
    };
    said.iter().for_each(|said| eprintln!("   note: {}", message(said)));
    learner.observe(Terminal::new(quiet, arguments.machine.verbose));
    watch_for_interrupt()?;
    learner.observe(interrupt::observer());
    learner.freeze_to(match arguments.layers {
        Layers::Head => 2,
        Layers::Late => 1,
        Layers::All => 0,
    })?;
    if arguments.layers != Layers::All && !arguments.live {
        stopped(learner.precompute(true))?;
    }
    let curve = stopped(learner.lr_find(search))?;
    let pictures = free_of(&out.join("lr_find.png"), &["svg", "csv"]);
    let name = pictures.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    curve.write(&out, &name)?;
    say(arguments, &curve, &pictures, quiet)
}

/// What was found; that nothing was is an error.
fn say(arguments: &LrFind, curve: &LrCurve, pictures: &Path, quiet: bool) -> Result<(), Failure> {
    let suggestion = curve.suggestion();
    if arguments.json {
        let found = suggestion.as_ref().ok().map(|&Suggestion { rate, rule }| {
            serde_json::json!({
                "rate": rate, "rates": curve.rates_at(rate), "rule": rule, "reason": rule.to_string()
            })
        });
        let suggestions = curve.suggestions().ok();
        let reason = suggestion.as_ref().err().map(ToString::to_string);
        let rises_at = curve.rises_at();
        output::json(&serde_json::json!({
            "suggestion": found, "suggestions": suggestions, "rises_at": rises_at, "reason": reason,
            "curve": curve
        }));
    }
    let Suggestion { rate, rule } = match suggestion {
        Ok(suggestion) => suggestion,
        Err(error) => {
            return Err(Failure::Error(format!(
                "{}; the curve is in {}",
                message(error),
                shown(pictures.display())
            )));
        }
    };
    if arguments.json {
        return Ok(());
    }
    let rates = curve.rates_at(rate);
    if quiet {
        println!("{rates}");
        return Ok(());
    }
    println!();
    println!("learning rate   {rates} ({rule})");
    match curve.finding() {
        Ok(Finding::Falls(suggestions)) => println!("                {}", fastais(&suggestions)),
        Ok(Finding::Rises(rate)) => {
            println!("                the loss does not clearly fall, and rises from {rate:.1e} on");
        }
        Err(_) => {}
    }
    match curve.diverged {
        Some(rate) => println!("                diverged at {rate:.1e}"),
        None => println!("                did not diverge up to {:.1e}", arguments.end),
    }
    println!("curve           {}, .svg, .csv", shown(pictures.display()));
    Ok(())
}

fn search(arguments: &LrFind) -> Result<Search, Failure> {
    let start = match arguments.lr[..] {
        [] => arguments.start.into(),
        [early, late, head] => {
            let rates = LearningRates([early, late, head]);
            rates.scaled(arguments.start / rates.head())
        }
        _ => {
            let number = arguments.lr.len();
            let wanted = "it takes three, for early layers, late layers and head";
            return Err(Failure::Error(format!("--lr has {number} rates; {wanted}")));
        }
    };
    let growth = if arguments.linear { Growth::Linear } else { Growth::Geometric };
    Ok(Search::default().start(start).end(arguments.end).steps(arguments.steps).growth(growth))
}

fn learner(arguments: &LrFind, quiet: bool) -> Result<Learner, Failure> {
    let arch: Arch = arguments.arch.parse()?;
    let (data, table) = arguments.source.data(&arguments.data);
    let settings = Settings {
        architecture: arch.to_string(),
        weights: arguments.weights.clone(),
        size: arguments.size.unwrap_or(arch.info().size),
        held_out: arguments.source.held_out()?,
        groups: arguments.source.groups(),
        max_pixels: arguments.source.max_pixels,
        channels: channels(&arguments.source.bands, &arguments.source.range)?,
        bad_images: arguments.bad_images.policy(),
        table,
        augmentation: augmentation(&arguments.augment),
        precision: arguments.machine.precision.precision(),
        batch_size: arguments.batch,
        seed: arguments.seed,
        framing: arguments.framing.framing(),
        method: Method {
            optimizer: arguments.optimizer.optimizer(),
            weight_decay: arguments.weight_decay.into(),
            ..Method::default()
        },
        ..Settings::new(data)
    };
    let cache = match &arguments.machine.cache {
        Some(folder) => folder.clone(),
        None => default_cache()?,
    };
    let places = Places {
        cache: Some(cache.clone()),
        device: arguments.machine.device,
        threads: arguments.machine.threads,
        ..Places::default()
    };
    match settings.learner(&places) {
        Err(ocelli::Error::NoWeights { .. }) => {
            fetched(&WeightStore::with_cache(&cache), arch, quiet)?;
            Ok(settings.learner(&places)?)
        }
        learner => Ok(learner?),
    }
}

/// The wish to stop is no error.
fn stopped<T>(result: ocelli::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| match error {
        ocelli::Error::Stopped => {
            eprintln!("stopped; nothing was written");
            Failure::Interrupted
        }
        error => error.into(),
    })
}
