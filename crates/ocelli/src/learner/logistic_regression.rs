//! Logistic regression as the head: depths and penalty by cross-validation, then one fit.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::slice;
use std::time::Instant;

use ocelli_data::{Items, Split, Task};
use ocelli_nn::layer::Pool;
use ocelli_nn::{Backbone, GROUPS, HeadForm, HeadKind, LinearHead};

use crate::data::Part;
use crate::error::{Error, Result};
use crate::event::{Activity, EpochTimes, Event, FitStarted, Observers};
use crate::features::cache::View;
use crate::learner::Learner;
use crate::learner::fit::{Hooks, LearnerHooks};
use crate::learner::out_of_fold::MOST_FITTED;
use crate::metric::Metric;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::recipe::freezing::Freezing;
use crate::recipe::logistic::{
    LastPooling, LearningPoint, LogisticCandidate, LogisticRegression, LogisticRegressionFit, check_loss,
};
use crate::schedule::learning_rates::LearningRates;
use crate::spread::spread;
use crate::stop::Stop;
use crate::train::fit::{MeasuredEpoch, record};
use crate::train::infer::predict;
use crate::train::logistic::{Coefficients, Effort, Problem, Standard};

/// Only the head is fitted, on cached features.
const FROZEN: Freezing = Freezing::Cached { frozen: GROUPS - 1, augmented_copies: 0 };
/// The inverse penalty at which depths are compared, and that is used where too few photos can be compared.
const USUAL_C: f64 = 0.01;
/// The inverse penalties that are tried, a factor of about 3 apart.
const C_GRID: [f64; 13] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0, 100.0];
/// The most training images that settings are compared on, spread evenly over all.
pub(crate) const MOST_COMPARED: usize = 4000;

/// Products of a step of a regression from which on a head with a hidden layer is trained sooner than the regression is
/// fitted, with some hundred classes.
const MOST_PRODUCTS_OUT_OF_FOLD: usize = 5_000_000_000;
/// The values of features to which such a regression is fitted at most: 256 MB, of which there are copies.
const MOST_VALUES_OUT_OF_FOLD: usize = 64_000_000;

/// The multiplications in which settings are compared at most: a minute or so. With hundreds of classes fewer settings
/// are compared.
const MOST_MULTIPLICATIONS: f64 = 5e12;

/// All training images, ready to be fitted to.
struct Rows {
    /// `[rows, features]`.
    features: Vec<f32>,
    /// `[rows, classes]`.
    targets: Vec<f32>,
    /// Of mean 1; `None`: all 1.
    row_weights: Option<Vec<f32>>,
    positive_weights: Option<Vec<f32>>,
    items: Vec<usize>,
    classes: usize,
    task: Task,
}

impl Rows {
    /// The rows with these numbers, and some of their columns.
    fn select(&self, rows: &[usize], columns: &[Range<usize>]) -> Self {
        let (width, classes) = (self.features.len() / self.items.len(), self.classes);
        let features = rows.iter().flat_map(|&row| {
            let row = &self.features[row * width..][..width];
            columns.iter().flat_map(move |range| row[range.clone()].iter().copied())
        });
        let of_rows = |values: &[f32]| rows.iter().map(|&row| values[row]).collect();
        Self {
            features: features.collect(),
            targets: rows
                .iter()
                .flat_map(|&row| &self.targets[row * classes..][..classes])
                .copied()
                .collect(),
            row_weights: self.row_weights.as_deref().map(of_rows),
            positive_weights: self.positive_weights.clone(),
            items: rows.iter().map(|&row| self.items[row]).collect(),
            classes,
            task: self.task,
        }
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            x: &self.features,
            features: self.features.len() / self.items.len(),
            targets: &self.targets,
            classes: self.classes,
            row_weights: self.row_weights.as_deref(),
            positive_weights: self.positive_weights.as_deref(),
            task: self.task,
        }
    }

    /// Fits to some of the rows, and gives the logits of others.
    fn fit_and_predict(
        &self,
        train: &[usize],
        held_out: &[usize],
        c: f64,
        start: Option<Coefficients>,
        effort: Effort,
    ) -> (Coefficients, Vec<f32>) {
        let whole = 0..self.features.len() / self.items.len();
        let all = slice::from_ref(&whole);
        let (fitted, held_out) = (self.select(train, all), self.select(held_out, all));
        let problem = fitted.problem();
        let start = start.unwrap_or_else(|| problem.start());
        let (coefficients, _) = problem.fit(c, start, effort);
        let logits = problem.logits(&coefficients, &held_out.features);
        (coefficients, logits)
    }

    /// Scales features in blocks of these widths, of which the last one has `maxima` first.
    fn standardise(&mut self, blocks: &[usize], pooling: LastPooling, maxima: usize) -> Standard {
        let standard = match pooling {
            LastPooling::MaximumAndAverage => Standard::of(&self.features, blocks, LinearHead::EPSILON),
            LastPooling::Average => {
                let last = blocks.iter().sum::<usize>() - blocks.last().copied().unwrap_or(0);
                Standard::weighted(&self.features, blocks, &(last..last + maxima), LinearHead::EPSILON)
            }
        };
        standard.apply(&mut self.features);
        standard
    }
}

/// The setting that cross-validation found best, all settings, and the best one with fewer images.
struct Compared {
    best: LogisticCandidate,
    candidates: Vec<LogisticCandidate>,
    curve: Vec<LearningPoint>,
}

impl Compared {
    /// There was nothing to compare, or too little to compare it by.
    fn nothing(taken: LogisticCandidate) -> Self {
        Self { best: taken, candidates: Vec::new(), curve: Vec::new() }
    }
}

/// The training images from which on a learning curve says something.
const SMALLEST_CURVE: usize = 100;

/// The images that each fold's regression is fitted to.
fn fitted(images: usize, folds: usize) -> usize {
    images - images / folds
}

/// Cross-validation of one set of columns.
struct Comparison<'a> {
    rows: Rows,
    folds: &'a [Split],
    depths: Vec<usize>,
    pooling: LastPooling,
    /// The coefficients of each fold at the last penalty, from which the next one starts.
    last: Vec<Option<Coefficients>>,
}

impl Comparison<'_> {
    /// Fits without each fold, and predicts it; to one of `part` images only.
    fn measure(
        &mut self,
        c: f64,
        part: usize,
        items: &Items,
        observers: &mut Observers,
        (done, total): (&mut usize, usize),
    ) -> Result<LogisticCandidate> {
        let mut predictions = Predictions::new(self.rows.task, self.rows.classes);
        for (fold, Split { train, valid, .. }) in self.folds.iter().enumerate() {
            let start = self.last[fold].take();
            let train: Vec<usize> = train.iter().copied().step_by(part).collect();
            let (coefficients, logits) = self.rows.fit_and_predict(&train, valid, c, start, Effort::COMPARE);
            self.last[fold] = Some(coefficients);
            for (&row, logits) in valid.iter().zip(logits.chunks_exact(self.rows.classes)) {
                let item = self.rows.items[row];
                predictions.push(item, &items[item].target, logits);
            }
            *done += 1;
            observers.progress(Activity::LogisticRegression, (*done).min(total), total)?;
        }
        Ok(LogisticCandidate {
            depths: self.depths.clone(),
            c,
            pooling: self.pooling,
            log_loss: predictions.loss(),
            accuracy: predictions.value(Metric::Accuracy),
            images: predictions.items().len(),
        })
    }
}

impl<B: Backbone> Learner<B> {
    /// Replaces the head by a linear one, fitted to cached features of all training images at once by logistic
    /// regression; counts as a fit of one epoch, whose record it returns. What the settings leave open is
    /// chosen by cross-validation on the training images; see [`LogisticRegression`].
    ///
    /// # Errors
    /// [`Error::CustomHead`] where the network's head is a custom module; [`Error::Setting`] for settings out
    /// of range, and for a loss other than cross-entropy; as [`cache_features`](Self::cache_features).
    pub fn logistic_regression(&mut self, settings: &LogisticRegression) -> Result<EpochRecord> {
        Ok(self.logistic_regression_with(settings, None, &mut ())?.0)
    }

    /// The same, with hooks from outside. With a number of seconds, which are counted once there are features, settings
    /// are compared only as far as there is time.
    pub(crate) fn logistic_regression_with(
        &mut self,
        settings: &LogisticRegression,
        time: Option<f64>,
        above: &mut dyn LearnerHooks<B>,
    ) -> Result<(EpochRecord, LogisticRegressionFit)> {
        settings.check()?;
        self.options.check(self.data().classes().len())?;
        check_loss(&self.options.loss)?;
        let sets = self.depth_sets(settings)?;
        let widest = sets.last().cloned().unwrap_or_default();
        self.unfinished = None;
        self.state.fits += 1;
        let number = self.state.fits;
        self.observers.emit(&Event::FitStarted(FitStarted {
            number,
            freezing: FROZEN,
            learning_rates: LearningRates::from(0.0),
            epochs: 1,
        }))?;
        self.set_linear_head(&widest)?;
        let Self { state, inputs, observers, .. } = self;
        inputs.prepare_features(state, observers)?;
        let began = Instant::now();
        let rows = self.rows()?;
        let widths = self.state.network.feature_widths(&widest, self.data().size());
        let Compared { best: chosen, candidates, curve } =
            self.compare(settings, time, &rows, &sets, &widest, &widths)?;
        let (columns, blocks) = columns_of(&chosen.depths, &widest, &widths);
        let mut rows = rows;
        if chosen.depths != widest {
            let all: Vec<usize> = (0..rows.items.len()).collect();
            rows = rows.select(&all, &columns);
        }
        let standard = rows.standardise(&blocks, chosen.pooling, self.maxima(&widths));
        let problem = rows.problem();
        let (coefficients, iterations) = problem.fit(chosen.c, problem.start(), Effort::FINAL);
        let train_loss = problem.loss(&coefficients);
        if chosen.depths != widest {
            self.set_linear_head(&chosen.depths)?;
            let Self { state, inputs, observers, .. } = self;
            inputs.narrow_features(state, &columns, observers)?;
        }
        self.set_regression(&standard, &coefficients, blocks.iter().sum())?;
        let seconds = began.elapsed().as_secs_f64();
        let fitted = LogisticRegressionFit {
            fit: number,
            depths: chosen.depths,
            features: blocks.iter().sum::<usize>()
                - if chosen.pooling == LastPooling::Average { self.maxima(&widths) } else { 0 },
            c: chosen.c,
            pooling: chosen.pooling,
            folds: settings.folds,
            candidates,
            learning_curve: curve,
            iterations,
            seconds,
        };
        self.observers.emit(&Event::LogisticRegression(fitted.clone()))?;
        Ok((self.measure_regression(train_loss, began, above)?, fitted))
    }

    /// Predicts every training image by a regression on its features that was fitted without its fold, also where the
    /// head has a hidden layer. `None` where the head is a custom one, which may want other features, or where the
    /// regression would take longer, or much more memory, than to train such a head.
    pub(super) fn regressions_out_of_fold(
        &mut self,
        folds: usize,
        stop: &Stop,
    ) -> Result<Option<Predictions>> {
        let Some(form) = self.network().head_form() else { return Ok(None) };
        let data = self.data();
        let blocks = self.network().feature_widths(&form.depths, data.size());
        let (images, width) = (data.split().train.len(), blocks.iter().sum::<usize>());
        let products = images.min(MOST_FITTED) * width * data.classes().len();
        let is_large = products > MOST_PRODUCTS_OUT_OF_FOLD || images * width > MOST_VALUES_OUT_OF_FOLD;
        if is_large && form.kind != HeadKind::Linear {
            return Ok(None);
        }
        let mut rows = self.rows()?;
        rows.standardise(&blocks, LastPooling::default(), 0);
        let mut logits = vec![0.0; rows.items.len() * rows.classes];
        let all: Vec<usize> = (0..rows.items.len()).collect();
        for (fold, split) in self.folds(&rows, &all, folds)?.into_iter().enumerate() {
            stop.check()?;
            let fitted = spread(&split.train, MOST_FITTED);
            let (_, found) = rows.fit_and_predict(&fitted, &split.valid, USUAL_C, None, Effort::OUT_OF_FOLD);
            for (&row, found) in split.valid.iter().zip(found.chunks_exact(rows.classes)) {
                logits[row * rows.classes..][..rows.classes].copy_from_slice(found);
            }
            self.observers.progress(Activity::Review, fold + 1, folds)?;
        }
        let items = self.data().items();
        let mut order = all;
        order.sort_unstable_by_key(|&row| rows.items[row]);
        let mut predictions = Predictions::new(rows.task, rows.classes);
        for row in order {
            let item = rows.items[row];
            let logits = &logits[row * rows.classes..][..rows.classes];
            predictions.push(item, &items[item].target, logits);
        }
        Ok(Some(predictions))
    }

    /// How many features of the last stage are maxima, the first ones of these widths' last block.
    fn maxima(&self, widths: &[usize]) -> usize {
        match self.network().pooling() {
            Some(Pool::MaximumAndAverage) => widths.last().map_or(0, |width| width / 2),
            _ => 0,
        }
    }

    /// The sets of depths that are compared, each within the next.
    pub(crate) fn depth_sets(&self, settings: &LogisticRegression) -> Result<Vec<Vec<usize>>> {
        let network = self.network();
        let last = network.backbone().stages() - 1;
        if let Some(depths) = &settings.depths {
            network.check_depths(depths)?;
            return Ok(vec![depths.clone()]);
        }
        let late = network.group_boundaries()[1];
        let mut sets = vec![Vec::new(), some_of(late..last), some_of((last + 1).div_ceil(3)..last)];
        sets.sort_by_key(Vec::len);
        // Each must be within the next: the widest holds the columns of all.
        let widest = sets.last().cloned().unwrap_or_default();
        for set in &mut sets {
            set.retain(|depth| widest.contains(depth));
        }
        sets.dedup();
        Ok(sets)
    }

    /// Gives the network a linear head on these depths, and freezes the rest.
    pub(crate) fn set_linear_head(&mut self, depths: &[usize]) -> Result<()> {
        let form = HeadForm { kind: HeadKind::Linear, depths: depths.to_vec() };
        self.state.network = self.with_form(Some(&form))?;
        if self.state.network.head_form().as_ref() != Some(&form) {
            return Err(Error::CustomHead);
        }
        self.set_freezing(FROZEN);
        Ok(())
    }

    /// The features and targets of all training images that can be read.
    fn rows(&self) -> Result<Rows> {
        let (inputs, data) = (&self.inputs, self.data());
        let (task, classes) = (data.task(), data.classes().len());
        let items = inputs.with_features(&data.split.train, View::Validation);
        if items.len() < 2 {
            return Err(Error::NoTrainingBatch);
        }
        let features = inputs.features_of(&items, View::Validation)?.try_into_vec::<f32>().expect("f32");
        let mut targets = inputs.targets(&items);
        let weights = self.options.loss.weights(data);
        let (row_weights, positive_weights) = match task {
            Task::SingleLabel => (self.row_weights(&items, weights.as_deref()), None),
            Task::MultiLabel => (self.row_weights(&items, None), weights),
        };
        let smoothing = self.options.loss.label_smoothing as f32;
        if smoothing > 0.0 {
            let to = if task == Task::SingleLabel { 1.0 / classes as f32 } else { 0.5 };
            targets.iter_mut().for_each(|target| *target = (1.0 - smoothing) * *target + smoothing * to);
        }
        Ok(Rows { features, targets, row_weights, positive_weights, items, classes, task })
    }

    /// The weight of each image by its class, and by how often balanced sampling would draw it.
    fn row_weights(&self, items: &[usize], class_weights: Option<&[f32]>) -> Option<Vec<f32>> {
        let data = self.data();
        if class_weights.is_none() && !data.balanced_sampling() {
            return None;
        }
        let counts = data.items().class_counts(items);
        let of_class = |class: usize| {
            let drawn = if data.balanced_sampling() { 1.0 / counts[class].max(1) as f32 } else { 1.0 };
            drawn * class_weights.map_or(1.0, |weights| weights[class])
        };
        let weight = |&item: &usize| {
            // Of several classes the rarest counts, as in sampling.
            let classes = data.items()[item].target.classes();
            classes.iter().map(|&class| of_class(class)).fold(f32::NAN, f32::max)
        };
        let mut weights: Vec<f32> = items.iter().map(weight).collect();
        let known: Vec<f32> = weights.iter().copied().filter(|weight| weight.is_finite()).collect();
        let mean = known.iter().map(|weight| f64::from(*weight)).sum::<f64>() / known.len().max(1) as f64;
        weights.iter_mut().for_each(|weight| {
            *weight = if weight.is_finite() { (f64::from(*weight) / mean.max(1e-30)) as f32 } else { 1.0 };
        });
        Some(weights)
    }

    /// The folds of some rows: numbers into these, to fit and to predict.
    fn folds(&self, rows: &Rows, some: &[usize], folds: usize) -> Result<Vec<Split>> {
        let items: Vec<usize> = some.iter().map(|&row| rows.items[row]).collect();
        self.data().folds_of(&items, folds, self.state.seed)
    }

    /// Compares what the settings leave open; returns the best, and all.
    fn compare(
        &mut self,
        settings: &LogisticRegression,
        time: Option<f64>,
        rows: &Rows,
        sets: &[Vec<usize>],
        widest: &[usize],
        widths: &[usize],
    ) -> Result<Compared> {
        let usual = settings.c.unwrap_or(USUAL_C);
        let fallback = || LogisticCandidate {
            depths: sets[0].clone(),
            c: usual,
            pooling: settings.pooling.unwrap_or_default(),
            log_loss: f64::NAN,
            accuracy: f64::NAN,
            images: 0,
        };
        if sets.len() == 1 && settings.c.is_some() {
            return Ok(Compared::nothing(fallback()));
        }
        let all: Vec<usize> = (0..rows.items.len()).collect();
        let compared = spread(&all, MOST_COMPARED);
        let count = compared.len();
        let Ok(folds) = self.folds(rows, &compared, settings.folds) else {
            let text = format!(
                "too few training images to compare settings in {} folds: the features of the last stage are used, with \
                 C = {usual}",
                settings.folds
            );
            self.observers.emit(&Event::Notice { text })?;
            return Ok(Compared::nothing(fallback()));
        };
        // Not known in advance: the best penalty is searched for from the usual one.
        let (mut done, total) =
            (0, folds.len() * (sets.len() + 3 + if settings.c.is_some() { 0 } else { 3 }));
        let maxima = self.maxima(widths);
        let Self { inputs, observers, .. } = self;
        let items = &inputs.data.items;
        let (mut best, mut candidates): (Option<(LogisticCandidate, Comparison)>, _) = (None, Vec::new());
        let (began, mut longest) = (Instant::now(), 0.0f64);
        // Whether there is time for another setting, in process 0; the last fit takes about as long as a fold's.
        let has_time = |longest: f64| match time {
            None => Ok(true),
            Some(time) => inputs.processes.decided(began.elapsed().as_secs_f64() + 1.5 * longest <= time),
        };
        // The multiplications of a setting with these depths, at most: most fits take fewer iterations.
        let price = |depths: &[usize]| {
            let width: usize = columns_of(depths, widest, widths).1.iter().sum();
            let of_an_iteration = 2.0 * (folds.len() - 1) as f64 * (count * rows.classes) as f64;
            of_an_iteration * (Effort::COMPARE.iterations * width) as f64
        };
        let mut spent = 0.0;
        let may_measure = |spent: f64, depths: &[usize], longest: f64| -> Result<bool> {
            Ok(spent + price(depths) <= MOST_MULTIPLICATIONS && has_time(longest)?)
        };
        let mut next: VecDeque<(Vec<usize>, LastPooling)> =
            sets.iter().map(|depths| (depths.clone(), settings.pooling.unwrap_or_default())).collect();
        let mut is_pooling_open = settings.pooling.is_none();
        while let Some((depths, pooling)) = next.pop_front() {
            if !may_measure(spent, &depths, longest)? {
                break;
            }
            spent += price(&depths);
            let (columns, blocks) = columns_of(&depths, widest, widths);
            let this = Instant::now();
            let mut selected = rows.select(&compared, &columns);
            // Standardising needs no labels, so that it may see the held-out images.
            selected.standardise(&blocks, pooling, maxima);
            let last = folds.iter().map(|_| None).collect();
            let mut comparison = Comparison { rows: selected, folds: &folds, depths, pooling, last };
            let found = comparison.measure(usual, 1, items, observers, (&mut done, total))?;
            candidates.push(found.clone());
            if best.as_ref().is_none_or(|(best, _)| found.log_loss < best.log_loss) {
                best = Some((found, comparison));
            }
            longest = longest.max(this.elapsed().as_secs_f64());
            if next.is_empty() && std::mem::take(&mut is_pooling_open) {
                // With the best depths, and with the last stage alone, where it matters most.
                let of_best = best.iter().map(|(best, _)| best.depths.clone());
                let others: BTreeSet<Vec<usize>> = of_best.chain([sets[0].clone()]).collect();
                next.extend(others.into_iter().map(|depths| (depths, LastPooling::Average)));
            }
        }
        let Some((mut best, mut comparison)) = best else {
            if price(&sets[0]) > MOST_MULTIPLICATIONS {
                let text = format!(
                    "comparing settings would take long with {} classes: the features of the last stage are used, with C \
                     = {usual}",
                    rows.classes
                );
                observers.emit(&Event::Notice { text })?;
            }
            return Ok(Compared::nothing(fallback()));
        };
        if settings.c.is_none() {
            let start = C_GRID.iter().position(|c| *c == USUAL_C).unwrap_or(0);
            for towards in [1, -1] {
                let mut at = start as isize + towards;
                let before = best.c;
                while let Some(&c) = usize::try_from(at).ok().and_then(|at| C_GRID.get(at))
                    && may_measure(spent, &comparison.depths, longest)?
                {
                    spent += price(&comparison.depths);
                    let found = comparison.measure(c, 1, items, observers, (&mut done, total))?;
                    candidates.push(found.clone());
                    if found.log_loss >= best.log_loss {
                        break;
                    }
                    (best, at) = (found, at + towards);
                }
                if best.c != before {
                    break;
                }
            }
        }
        let mut curve = Vec::new();
        if count == rows.items.len()
            && count >= SMALLEST_CURVE
            && may_measure(spent, &comparison.depths, longest)?
        {
            for part in [4, 2] {
                let found = comparison.measure(best.c, part, items, observers, (&mut done, total))?;
                let LogisticCandidate { log_loss, accuracy, .. } = found;
                curve.push(LearningPoint { images: fitted(count, folds.len()) / part, log_loss, accuracy });
            }
            let LogisticCandidate { log_loss, accuracy, .. } = best;
            curve.push(LearningPoint { images: fitted(count, folds.len()), log_loss, accuracy });
        }
        Ok(Compared { best, candidates, curve })
    }

    /// Gives the linear head these values.
    fn set_regression(
        &mut self,
        standard: &Standard,
        coefficients: &Coefficients,
        features: usize,
    ) -> Result<()> {
        let classes = self.data().classes().len();
        let mut tensors = self.state.network.to_tensors();
        let bias = coefficients.0[classes * features..].to_vec();
        let weights = standard.weights(coefficients, LinearHead::EPSILON);
        let ones = vec![1.0; features];
        for (name, shape, values) in [
            ("norm.running_mean", vec![features], standard.mean.clone()),
            ("norm.running_var", vec![features], standard.variance.clone()),
            ("norm.weight", vec![features], ones),
            ("norm.bias", vec![features], vec![0.0; features]),
            ("linear.weight", vec![classes, features], weights),
            ("linear.bias", vec![classes], bias),
        ] {
            tensors.insert(format!("head.{name}"), shape, values);
        }
        self.state.network = self.state.network.clone().with_tensors(&tensors)?;
        self.set_freezing(FROZEN);
        Ok(())
    }

    /// Predicts the validation images, and does what follows an epoch.
    fn measure_regression(
        &mut self,
        train_loss: f64,
        began: Instant,
        above: &mut dyn LearnerHooks<B>,
    ) -> Result<EpochRecord> {
        let Self { state, inputs, options, best, history, observers, save_cycles, .. } = self;
        state.epochs += 1;
        state.steps += 1;
        let fitted = began.elapsed().as_secs_f64();
        let predictions = predict(state, inputs, Part::Valid, observers)?;
        let seconds = began.elapsed().as_secs_f64();
        let record = EpochRecord { seconds, ..record((state.fits, 1), train_loss, &predictions, options) };
        let times = EpochTimes {
            fit: state.fits,
            epoch: 1,
            images: inputs.data.train_len(),
            optimizer: fitted,
            validation: seconds - fitted,
            ..EpochTimes::default()
        };
        let (network, freezing, size) = (state.network.clone(), state.freezing, inputs.data.size());
        let mut epoch = MeasuredEpoch { record, predictions, network, freezing, size, times };
        let mut hooks = Hooks { best, history, observers, save_cycles: save_cycles.as_ref(), above };
        hooks.follow(&mut epoch);
        hooks.emit(&epoch, inputs)?;
        Ok(epoch.record)
    }
}

/// The columns and the widths of the blocks of these depths and the last stage, among those of the widest set.
fn columns_of(depths: &[usize], widest: &[usize], widths: &[usize]) -> (Vec<Range<usize>>, Vec<usize>) {
    let mut at = 0;
    let mut columns = Vec::new();
    for (block, &width) in widths.iter().enumerate() {
        if widest.get(block).is_none_or(|depth| depths.contains(depth)) {
            columns.push(at..at + width);
        }
        at += width;
    }
    let blocks = columns.iter().map(Range::len).collect();
    (columns, blocks)
}

/// At most this many stages of a range, spread evenly over it, the last one among them.
const MOST_DEPTHS: usize = 6;

fn some_of(stages: Range<usize>) -> Vec<usize> {
    let count = stages.len().min(MOST_DEPTHS);
    (1..=count).map(|index| stages.start + index * stages.len() / count - 1).collect()
}
