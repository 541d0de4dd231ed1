//! Flags that have no effect with the recipe.

use ocelli::{Augmentation, Phase, RunConfig, TrainPhase};

use super::settings::SettingFlags;

impl SettingFlags {
    /// A warning for each flag that no phase of the recipe uses.
    pub(super) fn idle_flags(&self, settings: &RunConfig) -> Vec<String> {
        let trained = settings.recipe.phases.iter().filter_map(|phase| match phase {
            Phase::Train(train) => Some(train),
            _ => None,
        });
        let trained: Vec<&TrainPhase> = trained.collect();
        let any = |matches: &dyn Fn(&TrainPhase) -> bool| trained.iter().any(|phase| matches(phase));
        let live = any(&|phase| !phase.freezing.is_cached());
        let copies = any(&|phase| phase.freezing.augmented_copies() > 0);
        let unfrozen = any(&|phase| phase.freezing.frozen() < 2);
        let caches = |phase: &Phase| match phase {
            Phase::Train(train) => train.freezing.is_cached() && train.freezing.frozen() == 2,
            phase => matches!(phase, Phase::LogisticRegression(_)),
        };
        let none = Augmentation::none();
        let augments = self.images.augment.iter().any(|augmentation| *augmentation != none);
        let recipe = &self.recipe;
        let flags = [
            ("--lr", !recipe.lr.is_empty() && trained.is_empty(), "trains by gradient descent"),
            (
                "--optimizer",
                self.optimizer.optimizer.is_some() && trained.is_empty(),
                "trains by gradient descent",
            ),
            ("--augment", augments && !live && !copies, "trains on augmented images"),
            (
                "--augmented-copies",
                recipe.augmented_copies.is_some_and(|n| n > 0) && !copies,
                "caches augmented copies",
            ),
            ("--mixup", self.mixup.is_some() && !live, "trains on images instead of cached features"),
            ("--cutmix", self.cutmix.is_some() && !live, "trains on images instead of cached features"),
            ("--group-lr-ratio", recipe.group_lr_ratio.is_some() && !unfrozen, "trains more than the head"),
            ("--micro-batch", self.loss.micro_batch.is_some() && !unfrozen, "trains more than the head"),
            (
                "--exchange-precision",
                self.loss.exchange_precision.is_some() && !unfrozen,
                "trains more than the head",
            ),
            (
                "--int8",
                settings.int8 && !settings.recipe.phases.iter().any(caches),
                "trains on cached features of the whole backbone",
            ),
            ("--train-bn", recipe.train_bn && !unfrozen, "trains more than the head"),
            ("--lr with three rates", recipe.lr.len() == 3 && !unfrozen, "trains more than the head"),
        ];
        let idle = flags.into_iter().filter(|(_, idle, _)| *idle);
        idle.map(|(flag, _, use_)| format!("warning: {flag} has no effect: no phase of this recipe {use_}"))
            .collect()
    }
}
