//! Flags that have no effect with the recipe.

use ocelli::{Augmentation, Settings, Step, Train as TrainStep};

use super::Train;

impl Train {
    /// A warning for each flag that no phase of the recipe has a use for.
    pub(super) fn idle_flags(&self, settings: &Settings) -> Vec<String> {
        let trained = settings.recipe.steps.iter().filter_map(|step| match step {
            Step::Train(train) => Some(train),
            _ => None,
        });
        let trained: Vec<&TrainStep> = trained.collect();
        let any = |wanted: &dyn Fn(&TrainStep) -> bool| trained.iter().any(|step| wanted(step));
        let live = any(&|step| !step.precompute);
        let copies = any(&|step| step.precompute && step.views > 0);
        let unfrozen = any(&|step| step.frozen < 2);
        let none = Augmentation::none();
        let augments = self.images.augment.iter().any(|augmentation| *augmentation != none);
        let recipe = &self.recipe;
        let flags = [
            ("--augment", augments && !live && !copies, "trains on augmented images"),
            (
                "--augmented-copies",
                recipe.augmented_copies.is_some_and(|n| n > 0) && !copies,
                "caches augmented copies",
            ),
            ("--mixup", self.mixup.is_some() && !live, "trains on images instead of cached features"),
            ("--cutmix", self.cutmix.is_some() && !live, "trains on images instead of cached features"),
            ("--group-lr-ratio", recipe.group_lr_ratio.is_some() && !unfrozen, "trains more than the head"),
            ("--train-bn", recipe.train_bn && !unfrozen, "trains more than the head"),
            ("--lr with three rates", recipe.lr.len() == 3 && !unfrozen, "trains more than the head"),
        ];
        let idle = flags.into_iter().filter(|(_, idle, _)| *idle);
        idle.map(|(flag, _, use_)| format!("warning: {flag} has no effect: no phase of this recipe {use_}"))
            .collect()
    }
}
