//! Parsing the values of flags: numbers in a range, and names.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ocelli::{Arch, MAX_THREADS, Metric, Preset, Tta};

use crate::text::{count, meant};

/// A name with a line of help, as in `Framing::NAMES`.
pub fn one_of<T>(names: &'static [(&'static str, &'static str)]) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::fmt::Display> + Clone + Send + Sync + 'static,
{
    let values = names.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(|name| name.parse().map_err(|error: T::Err| error.to_string()))
}

/// The long help of a flag that takes one of these names.
pub fn names_help(about: &str, names: &[(&str, &str)]) -> String {
    let width = names.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = names.iter().map(|(name, help)| format!("\n  {name:width$}  {help}"));
    format!("{about}\n{}", lines.collect::<String>())
}

/// A whole number of this range.
pub fn whole<const FROM: usize, const TO: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (FROM..=TO).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {FROM} to {}", count(TO))),
    }
}

/// An image size in pixels.
pub fn side(text: &str) -> Result<usize, String> {
    whole::<1, 8192>(text)
}

/// A number of epochs, which may be 0.
pub fn epochs(text: &str) -> Result<usize, String> {
    whole::<0, 100_000>(text)
}

/// At least 2: batch norm needs more than one image.
pub fn batch_size(text: &str) -> Result<usize, String> {
    whole::<2, 65_536>(text)
}

/// A seed that a TOML file can store.
pub fn seed(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if i64::try_from(number).is_ok() => Ok(number),
        _ => Err(format!("expected a whole number from 0 to {}", i64::MAX)),
    }
}

/// The number of pixels of a photo.
pub fn pixels(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000_000_000) => Ok(number),
        _ => Err("expected a whole number from 1 to 1,000,000,000,000".to_owned()),
    }
}

/// Seconds of waiting for a client.
#[cfg(feature = "serve")]
pub fn client_timeout(text: &str) -> Result<f64, String> {
    number(text, "from 0.1 to 3600, such as 30", |number| (0.1..=3600.0).contains(&number))
}

/// A number of threads; 0: one per core.
pub fn threads(text: &str) -> Result<usize, String> {
    whole::<0, MAX_THREADS>(text)
}

/// The fraction of known photos that may be called unknown.
pub fn false_refusals(text: &str) -> Result<f64, String> {
    number(text, "from 0 to less than 1, such as 0.05", |number| (0.0..1.0).contains(&number))
}

/// A duration in seconds: `90`, `30s`, `2m`, `1h 30m`
pub fn time(text: &str) -> Result<f64, String> {
    let seconds = text.parse().or_else(|_| humantime::parse_duration(text).map(|time| time.as_secs_f64()));
    match seconds {
        Ok(seconds) if (1.0..=1e8).contains(&seconds) => Ok(seconds),
        _ => Err("expected a time of at least 1 second, such as 90, 30s, 2m or \"1h 30m\"".to_owned()),
    }
}

/// The rate of a network in bits per second: `10G`, `2.5G`, `100M`
pub fn bit_rate(text: &str) -> Result<f64, String> {
    let units = [("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)];
    let upper = text.to_ascii_uppercase();
    let found = units.iter().find_map(|(name, unit)| Some((upper.strip_suffix(name)?, *unit)));
    let (digits, unit) = found.unwrap_or((upper.as_str(), 1.0));
    match digits.trim_end().parse::<f64>() {
        Ok(number) if (1e3..=1e15).contains(&(number * unit)) => Ok(number * unit),
        _ => Err("expected bits per second, from 1K to 1000T, such as 1G, 2.5G or 100M".to_owned()),
    }
}

/// The latency of a network in seconds: `0.2ms`, `50us`
pub fn latency(text: &str) -> Result<f64, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let found = units.iter().find_map(|(name, unit)| {
        let number: f64 = text.strip_suffix(name)?.trim_end().parse().ok()?;
        Some(number * unit)
    });
    match found {
        Some(seconds) if (0.0..=10.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a time from 0s to 10s with its unit, such as 0.2ms or 50us".to_owned()),
    }
}

fn number(text: &str, range: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if holds(number) => Ok(number),
        _ => Err(format!("expected a number {range}")),
    }
}

pub fn above_0(text: &str) -> Result<f64, String> {
    number(text, "above 0, such as 0.01", |number| number > 0.0 && number.is_finite())
}

pub fn at_least_0(text: &str) -> Result<f64, String> {
    number(text, "of at least 0, such as 0.01", |number| number >= 0.0 && number.is_finite())
}

pub fn below_1(text: &str) -> Result<f64, String> {
    number(text, "from 0 to below 1", |number| (0.0..1.0).contains(&number))
}

/// A probability.
pub fn probability(text: &str) -> Result<f32, String> {
    number(text, "from 0 to 1, such as 0.9", |number| (0.0..=1.0).contains(&number))
        .map(|number| number as f32)
}

pub fn alpha(text: &str) -> Result<f64, String> {
    number(text, "above 0 and at most 100, such as 0.4", |number| number > 0.0 && number <= 100.0)
}

pub fn focal_gamma(text: &str) -> Result<f64, String> {
    number(text, "from 1 to 10, or 0", |number| number == 0.0 || (1.0..=10.0).contains(&number))
}

pub fn lr_ratio(text: &str) -> Result<f64, String> {
    number(text, "from 1 to 1,000,000, such as 10 or 3", |number| (1.0..=1e6).contains(&number))
}

pub fn clip(text: &str) -> Result<f64, String> {
    number(text, "from 0 to below 0.5, such as 0.001", |number| (0.0..0.5).contains(&number))
}

/// `--tta 4`, `--tta corners`
fn views(text: &str) -> Result<Tta, String> {
    match (text, text.parse()) {
        ("corners", _) => Ok(Tta::corners()),
        (_, Ok(number @ 1..=64)) => Ok(Tta::views(number)),
        _ => Err("expected a number of views from 1 to 64, such as 4, or corners".to_owned()),
    }
}

/// `--tta 4`, `--tta corners`, `--tta none`
pub fn tta(text: &str) -> Result<OrNone<Tta>, String> {
    match text {
        "none" => Ok(OrNone(None)),
        _ => views(text).map(|tta| OrNone(Some(tta))).map_err(|range| format!("{range}, or none")),
    }
}

/// A value, or the word none: clap treats an `Option` as a flag that may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrNone<T>(pub Option<T>);

/// A backbone, or the one that suits the photos best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ArchOrAuto {
    Arch(Arch),
    Auto,
}

/// The name of a backbone, or auto.
pub fn arch_or_auto(text: &str) -> Result<ArchOrAuto, String> {
    if text == ocelli::AUTO_ARCH { Ok(ArchOrAuto::Auto) } else { arch(text).map(ArchOrAuto::Arch) }
}

/// The name of a backbone.
pub fn arch(text: &str) -> Result<Arch, String> {
    text.parse().map_err(|_| {
        let names = Arch::ALL.iter().map(|arch| arch.name()).collect::<Vec<_>>();
        format!("unknown backbone{}; `ocelli models` lists all", meant(text, names))
    })
}

/// The name of a recipe.
pub fn recipe(text: &str) -> Result<Preset, String> {
    text.parse().map_err(|_| {
        let meant = meant(text, ["auto", "linear", "quick", "lesson", "full", "fine-tune-3"]);
        format!("unknown recipe{meant}; expected auto, linear, quick, lesson, full or fine-tune-N with N from 1 to 100,000")
    })
}

/// The name of a metric.
pub fn metric(text: &str) -> Result<Metric, String> {
    text.parse().map_err(|_| {
        let meant = meant(text, Metric::NAMES.into_iter().chain(Metric::AVERAGED));
        format!("unknown metric{meant}; expected {}", Metric::EXPECTED)
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use ocelli::{
        Augmentation, BadImages, Framing, Optimizer, Precision, TableFormat, Task, Thresholds, Values,
    };

    use super::*;

    fn all_parse<T: FromStr<Err: Debug>>(names: &[(&str, &str)]) {
        for (name, help) in names {
            assert!(name.parse::<T>().is_ok(), "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
        assert!("nothing of the kind".parse::<T>().is_err());
    }

    #[test]
    fn every_name_that_help_lists_is_one_that_the_library_takes() {
        all_parse::<Augmentation>(Augmentation::NAMES);
        all_parse::<BadImages>(BadImages::NAMES);
        all_parse::<Framing>(Framing::NAMES);
        all_parse::<Optimizer>(Optimizer::NAMES);
        all_parse::<Precision>(Precision::NAMES);
        all_parse::<TableFormat>(TableFormat::NAMES);
        all_parse::<Task>(Task::NAMES);
        all_parse::<Thresholds>(Thresholds::NAMES);
        all_parse::<Values>(Values::NAMES);
        let mut names = Metric::NAMES.into_iter().chain(Metric::AVERAGED);
        assert!(names.all(|name| name.parse::<Metric>().is_ok()));
        assert!(Metric::NAMES.iter().all(|name| Metric::EXPECTED.contains(name)));
    }
}
