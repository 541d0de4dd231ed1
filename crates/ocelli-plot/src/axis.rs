//! The range of an axis, and the round numbers at which its grid lines are.

/// One axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit.
    pub label: String,
    /// Whether equal distances are equal factors.
    pub logarithmic: bool,
    /// Lowest and highest value shown; by default all there is.
    pub range: Option<(f64, f64)>,
}

/// Grid lines of an axis, at most.
pub(crate) const MAX_TICKS: usize = 12;
/// Numbers beyond these are not drawn: an axis of them could not be divided.
const LARGEST: f64 = 1e300;
const SMALLEST: f64 = 1e-300;
/// The smallest range of an axis, relative to its values, and in decades where it is logarithmic: `f64`
/// could not divide a smaller one.
const NARROWEST: f64 = 1e-9;

impl Axis {
    /// A linear axis that shows all there is.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false, range: None }
    }

    /// A logarithmic axis that shows all there is.
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: true, range: None }
    }

    /// The same axis, showing this range.
    pub fn between(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// The range that is shown: a little more than there is.
    pub(crate) fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let logarithmic = self.logarithmic;
        let all = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let all = || {
            let usable = values.filter(|value| usable(*value, logarithmic));
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), all)
        };
        let given = self.range.filter(|(low, high)| {
            usable(*low, logarithmic) && usable(*high, logarithmic) && !too_narrow(*low, *high, logarithmic)
        });
        let (low, high) = given.unwrap_or_else(all);
        let (low, high) = match logarithmic {
            true if low > high => (0.1, 1.0),
            true if too_narrow(low, high, true) => (low / 2.0, high * 2.0),
            false if low > high => (0.0, 1.0),
            false if too_narrow(low, high, false) => {
                let room = 0.5f64.max(0.001 * high.abs());
                (low - room, high + room)
            }
            false if given.is_none() => (low - 0.03 * (high - low), high + 0.03 * (high - low)),
            _ => (low, high),
        };
        Scale { low, high, logarithmic }
    }
}

/// Whether a number can be drawn.
pub(crate) fn usable(value: f64, logarithmic: bool) -> bool {
    if logarithmic { (SMALLEST..=LARGEST).contains(&value) } else { value.abs() <= LARGEST }
}

/// Whether a range is none, or too small to be divided.
fn too_narrow(low: f64, high: f64, logarithmic: bool) -> bool {
    match logarithmic {
        true => high.log10() - low.log10() < NARROWEST,
        false => high - low < (NARROWEST * low.abs().max(high.abs())).max(SMALLEST),
    }
}

/// The range of an axis. Both ends are usable, and far enough apart to be divided.
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) logarithmic: bool,
}

impl Scale {
    /// Where a usable number lies: from 0 to 1 in the frame.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let [value, low, high] =
            [value, self.low, self.high].map(|number| if self.logarithmic { number.ln() } else { number });
        // Far away it does not matter how far.
        ((value - low) / (high - low)).clamp(-1e6, 1e6)
    }

    /// Round numbers to draw grid lines at, ascending, with their labels.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = (self.low, self.high);
        let decades = high.log10() - low.log10();
        let (ticks, step): (Vec<f64>, _) = if self.logarithmic && decades > 0.9 {
            let every = (decades / 8.0).ceil().max(1.0) as i32;
            let steps: &[f64] = if decades < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let all = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let all = all.filter(|decade| decade % every == 0);
            (all.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade))).collect(), None)
        } else {
            let rough = (high - low) / 6.0;
            let decade = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0]
                .map(|step| step * decade)
                .into_iter()
                .find(|step| *step >= rough * (1.0 - 1e-9));
            let step = step.unwrap_or(10.0 * decade);
            let first = (low / step - 1e-9).ceil();
            ((0..MAX_TICKS).map(|number| (first + number as f64) * step).collect(), Some(step))
        };
        let reach = 1e-6;
        let in_frame = |tick: &f64| tick.is_finite() && (-reach..=1.0 + reach).contains(&self.at(*tick));
        let ticks = ticks.into_iter().filter(in_frame).take(MAX_TICKS);
        ticks.map(|tick| (tick, tick_label(tick, step))).collect()
    }
}

/// A number on an axis whose grid lines are `step` apart, if they are evenly: with as many digits as tell it
/// from its neighbours, with an exponent where it would be long.
pub(crate) fn tick_label(value: f64, step: Option<f64>) -> String {
    let size = value.abs();
    let magnitude = |value: f64| value.log10().floor();
    let digits = match step {
        Some(step) if size < step * 1e-6 => return "0".to_owned(),
        Some(step) => {
            let decimals = (-magnitude(step)).max(0.0) as usize;
            if (1e-3..1e5).contains(&size) && decimals <= 6 {
                let text = format!("{value:.decimals$}");
                return match text.contains('.') {
                    true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                    false => text,
                };
            }
            (magnitude(size) - magnitude(step)).clamp(0.0, 15.0) as usize
        }
        None => 1,
    };
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').expect("it has an exponent");
    let mantissa = match mantissa.contains('.') {
        true => mantissa.trim_end_matches('0').trim_end_matches('.'),
        false => mantissa,
    };
    format!("{mantissa}e{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_at_round_numbers() {
        let labels = |axis: Axis, low: f64, high: f64| {
            let scale = axis.between(low, high).scale(std::iter::empty());
            scale.ticks().into_iter().map(|tick| tick.1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Axis::linear(""), 0.0, 1.0), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(labels(Axis::linear(""), -3.0, 2.9), "-3 -2 -1 0 1 2");
        assert_eq!(labels(Axis::linear(""), 0.0, 6000.0), "0 1000 2000 3000 4000 5000 6000");
        assert_eq!(labels(Axis::linear(""), 0.9712, 0.97183), "0.9712 0.9714 0.9716 0.9718");
        assert_eq!(labels(Axis::linear(""), 0.0, 3e-5), "0 5e-6 1e-5 1.5e-5 2e-5 2.5e-5 3e-5");
        assert_eq!(labels(Axis::logarithmic(""), 1e-5, 10.0), "1e-5 1e-4 1e-3 1e-2 1e-1 1e0 1e1");
        assert_eq!(labels(Axis::logarithmic(""), 1e-3, 5e-2), "1e-3 2e-3 5e-3 1e-2 2e-2 5e-2");
    }
}
