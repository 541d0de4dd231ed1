//! Which of several backbones suits photos best, by a linear head on the features of each in cross-validation
//! (Kornblith et al. 2019, <https://arxiv.org/abs/1805.08974>: no one network is best on all photos).

use std::time::Instant;

use burn::tensor::Device;
use ocelli_data::Split;
use ocelli_data::text::count;
use ocelli_nn::{Arch, Int8Features};

use crate::error::{Error, Result};
use crate::pretrained::is_on_this_machine;
use crate::recipe::logistic::{LogisticCandidate, LogisticRegression};
use crate::run::config::{RunConfig, RunEnv};
use crate::spread::spread;

/// What [`RunConfig::arch`] is where a run is to choose its backbone among those whose weights are on this machine.
pub const AUTO_ARCH: &str = "auto";

/// The most training photos that backbones are compared on, spread evenly over all.
const MOST_PHOTOS: usize = 1000;
/// The part by which a backbone must lower the log loss of a cheaper one to be chosen instead: less is hardly more than
/// the noise of cross-validation, and all that follows takes as much longer as it computes more.
const WORTHWHILE: f64 = 0.05;
/// The part of a time limit in which backbones are compared; the next one is begun only before.
const FOR_CHOICE: f64 = 0.25;

/// How well a linear head on a backbone's features does.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ArchScore {
    /// The backbone.
    pub arch: Arch,
    /// The log loss in cross-validation.
    pub log_loss: f64,
    /// The accuracy, 0 to 1; with several labels per image, of labels.
    pub accuracy: f64,
    /// The images that were predicted.
    pub images: usize,
    /// Seconds that it took, features included.
    pub seconds: f64,
}

/// Compares backbones on up to 1,000 training images of a configuration, at its image size and with its seed: a linear
/// head on the features of each, in cross-validation, as [`LogisticRegression`] chooses its settings. The cheapest is
/// first. Validation images are not looked at.
///
/// # Errors
/// As [`Run::prepare`](crate::Run::prepare); [`Error::Setting`] where there are too few images to compare anything.
pub fn compare_archs(settings: &RunConfig, env: &RunEnv, archs: &[Arch]) -> Result<Vec<ArchScore>> {
    Ok(compared(settings, env, archs)?.0)
}

/// The scores of backbones, and those for which a time limit left no time.
fn compared(settings: &RunConfig, env: &RunEnv, archs: &[Arch]) -> Result<(Vec<ArchScore>, Vec<Arch>)> {
    let mut archs = archs.to_vec();
    archs.sort_by(|a, b| cost(*a).total_cmp(&cost(*b)));
    let data = settings.image_data(env.threads).hash_progress(env.hash_progress.clone()).load()?;
    let train = spread(&data.split().train, MOST_PHOTOS);
    let sample = data.with_split(Split { train, ..Split::default() });
    let limit = settings.recipe.time_limit.map(|limit| FOR_CHOICE * limit);
    let began = Instant::now();
    let (mut scores, mut left) = (Vec::new(), Vec::new());
    for arch in archs {
        let is_late = limit.is_some_and(|limit| began.elapsed().as_secs_f64() > limit);
        if env.processes.decided(is_late && !scores.is_empty())? {
            left.push(arch);
            continue;
        }
        let began = Instant::now();
        let one = RunConfig { arch: arch.to_string(), ..settings.clone() };
        let mut learner = one.pretrained(sample.clone(), env)?.0;
        one.apply(&mut learner, env)?;
        let (_, fitted) = learner.logistic_regression_with(&LogisticRegression::default(), None, &mut ())?;
        let best = fitted.candidates.into_iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
        let Some(LogisticCandidate { log_loss, accuracy, images, .. }) = best else {
            let expected = "the name of a backbone: there are too few training images to compare several";
            return Err(Error::setting("arch", AUTO_ARCH, expected));
        };
        scores.push(ArchScore { arch, log_loss, accuracy, images, seconds: began.elapsed().as_secs_f64() });
    }
    Ok((scores, left))
}

/// What a backbone computes of a pixel.
fn cost(arch: Arch) -> f64 {
    let info = arch.info();
    f64::from(info.multiply_adds) / (info.size * info.size) as f64
}

/// Whether a backbone's features can be computed in 8-bit integers.
fn has_integers(arch: Arch, size: usize) -> bool {
    let network = arch.untrained(3, 2, 0, &Device::flex());
    Int8Features::check(&network, [size; 2]).is_ok()
}

/// The one of these, by their cost, that is worth its cost.
fn best_of(scores: &[ArchScore]) -> Option<&ArchScore> {
    scores.iter().reduce(
        |taken, next| {
            if next.log_loss < (1.0 - WORTHWHILE) * taken.log_loss { next } else { taken }
        },
    )
}

/// The settings with the backbone that suits the photos best, where they leave it open, and what is to be said of it.
pub(crate) fn resolved(settings: &RunConfig, env: &RunEnv) -> Result<(RunConfig, Vec<String>)> {
    if settings.arch != AUTO_ARCH {
        return Ok((settings.clone(), Vec::new()));
    }
    if let Some(weights) = &settings.weights {
        let expected = "left out where the backbone is to be chosen, since it has the weights of one";
        return Err(Error::setting("weights", weights.display(), expected));
    }
    let began = Instant::now();
    let mut here = Vec::new();
    for &arch in Arch::ALL {
        let is_here =
            arch.info().smallest <= settings.size && is_on_this_machine(arch, env.cache.as_deref())?;
        if is_here && (!settings.int8 || has_integers(arch, settings.size)) {
            here.push(arch);
        }
    }
    let with = |arch: Arch| RunConfig { arch: arch.to_string(), ..settings.clone() };
    match here[..] {
        [] => {
            return Err(Error::setting(
                "arch",
                AUTO_ARCH,
                "the name of a backbone: the weights of none are on this machine",
            ));
        }
        [arch] => {
            let text = format!("the backbone is {arch}, the only one whose weights are on this machine");
            return Ok((with(arch), vec![text]));
        }
        _ => {}
    }
    let (scores, left) = compared(settings, env, &here)?;
    let best = best_of(&scores).map_or(0, |best| scores.iter().position(|score| score == best).unwrap_or(0));
    // Processes compute the same, but for what depends on time.
    let taken = scores[env.processes.as_first(best)?].clone();
    let mut chosen = with(taken.arch);
    if let Some(limit) = &mut chosen.recipe.time_limit {
        let millis = env.processes.as_first((1e3 * began.elapsed().as_secs_f64()) as usize)?;
        *limit = (*limit - millis as f64 / 1e3).max(1.0);
    }
    let others = scores.iter().filter(|score| score.arch != taken.arch);
    let others = others.map(|score| format!("{} {:.4}", score.arch, score.log_loss)).collect::<Vec<_>>();
    let mut notices = vec![format!(
        "the backbone is {}: in cross-validation on {} training images at {} px a linear head on its features has a log \
         loss of {:.4}; of others: {}",
        taken.arch,
        count(taken.images),
        settings.size,
        taken.log_loss,
        others.join(", ")
    )];
    if !left.is_empty() {
        let names = left.iter().map(Arch::to_string).collect::<Vec<_>>().join(", ");
        notices.push(format!("there was no time to compare the backbones {names}"));
    }
    Ok((chosen, notices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_convolutional_backbones_have_integers() {
        let [yes, no] = [Arch::EfficientNetLite0, Arch::VitTinyPatch16].map(|arch| has_integers(arch, 224));
        assert!(yes && !no);
    }

    #[test]
    fn a_costlier_backbone_is_chosen_where_it_is_worth_it() {
        let score = |arch, log_loss| ArchScore { arch, log_loss, accuracy: 0.9, images: 100, seconds: 1.0 };
        let (cheap, middle, dear) = (Arch::EfficientNetLite0, Arch::EfficientNetLite2, Arch::ResNet50);
        let taken = |losses: [f64; 3]| {
            let scores: Vec<_> =
                [cheap, middle, dear].into_iter().zip(losses).map(|(a, l)| score(a, l)).collect();
            best_of(&scores).map(|score| score.arch)
        };
        assert_eq!(taken([0.5, 0.49, 0.48]), Some(cheap));
        assert_eq!(taken([0.5, 0.47, 0.46]), Some(middle));
        assert_eq!(taken([0.5, 0.6, 0.3]), Some(dear));
        assert_eq!(best_of(&[]), None);
    }
}
