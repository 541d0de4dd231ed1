//! Whether the memory at hand is enough for a recipe: asked before anything is computed, since a process that runs out of
//! memory is ended by the system, and can say nothing.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use ocelli_kernels::peak_of;
use ocelli_nn::{Backbone, GROUPS};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;
use crate::recipe::{Phase, Recipe};
use crate::train::fit::Input;

/// What a step of a recipe asks of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    /// The side of the images in pixels.
    size: usize,
    /// The layer groups that are not trained; [`GROUPS`] where the network is only used.
    frozen: usize,
    /// Views whose activations are kept, where they are.
    kept: Option<usize>,
}

/// Images of the two trials; what is different between them is that of so many images.
const TRIALS: [usize; 2] = [2, 4];
/// Those of the trials that decide where these say that there is too little: the kernels need less for each of many.
const LARGER_TRIALS: [usize; 2] = [8, 16];
/// Copies of an image's pixels, as f32, on the way from the loader to the network: batches ahead, and the tensor.
const PIXELS: u64 = 4;
/// Copies of all weights: in training, of the best epoch, of a search; gradients, an optimizer's two memories; packed.
const WEIGHTS: u64 = 8;

impl<B: Backbone> Learner<B> {
    /// Refuses what is left of a recipe where it would need more memory than there is, as far as the system says how
    /// much that is. What is needed is measured: a training step of two images, and of four; of more, if that is too much.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(crate) fn check_memory(&mut self, recipe: &Recipe) -> Result<()> {
        let Some(available) = available() else { return Ok(()) };
        if self.network.device() != Device::flex() {
            return Ok(());
        }
        let most = self.data.train_len().max(self.data.valid_len());
        let batch = self.data.batch_size().min(most) as u64;
        for demand in demands(recipe, self.performance.done, self.data.size()) {
            let needed = |(fixed, of_an_image)| fixed + batch * of_an_image;
            let mut measured = self.measure_memory(demand, TRIALS);
            if needed(measured) > available
                && measured.0 + LARGER_TRIALS[1] as u64 * measured.1 < available
                && batch >= LARGER_TRIALS[1] as u64
            {
                measured = self.measure_memory(demand, LARGER_TRIALS);
            }
            let (needed, (fixed, of_an_image)) = (needed(measured), measured);
            if needed > available {
                let fits = (available.saturating_sub(fixed) / of_an_image.max(1)) as usize;
                // A number that people would choose.
                let fits = if fits >= 16 { fits / 8 * 8 } else { fits / 2 * 2 };
                return Err(Error::Memory {
                    task: match demand.frozen {
                        GROUPS => "looking at photos",
                        0 => "training all layers",
                        _ => "training the later layers",
                    },
                    batch: batch as usize,
                    size: demand.size,
                    needed,
                    available,
                    fits: (fits >= 2).then_some(fits),
                });
            }
        }
        Ok(())
    }

    /// Bytes of a demand, whatever the batch is, and those of each of its images.
    fn measure_memory(&mut self, demand: Demand, trials: [usize; 2]) -> (u64, u64) {
        let Demand { size, frozen, kept } = demand;
        let freezing = self.freezing;
        self.set_freezing(Freezing::Live { frozen: frozen.min(GROUPS - 1) });
        let [few, more] = trials.map(|images| peak_of(|| self.try_step(images, size, frozen)));
        let entry = few.0;
        self.set_freezing(freezing);
        // The kernels keep buffers for the next step, up to half of what was in use at once.
        let of_an_image = (more.1.saturating_sub(few.1) / (trials[1] - trials[0]) * 3 / 2) as u64;
        let pixels = (3 * size * size * size_of::<f32>()) as u64;
        let weights: usize = self.network.parameters().iter().sum();
        let kept = kept.map_or(0, |views| {
            let (train, valid) = (self.data.train_len(), self.data.valid_len());
            (entry * size_of::<f32>()) as u64 * (train * views.max(1) + valid) as u64
        });
        ((weights * size_of::<f32>()) as u64 * WEIGHTS + kept, of_an_image + PIXELS * pixels)
    }

    /// Runs black images through the network, and the gradients back through what is trained of it. Gives the length of
    /// what the frozen part makes of one image.
    fn try_step(&self, images: usize, size: usize, frozen: usize) -> usize {
        let device = self.network.device();
        let images = Tensor::<4>::zeros([images, size, size, 3], &device).permute([0, 3, 1, 2]);
        let count = images.dims()[0];
        let maps = self.network.infer_stages(images, 0, self.border());
        let input = if self.pooled() { Input::Pooled(self.network.pool(maps)) } else { Input::Maps(maps) };
        let entry = input.len() / count;
        if frozen < GROUPS {
            let (logits, _) = self.forward(&self.network, input, self.statistics);
            logits.sum().backward();
        }
        entry
    }
}

/// What the phases of a recipe from `done` on ask for; the images begin with a side of `size` pixels.
fn demands(recipe: &Recipe, done: usize, mut size: usize) -> BTreeSet<Demand> {
    let mut demands = BTreeSet::new();
    for phase in recipe.phases.iter().skip(done) {
        match phase {
            Phase::Resize { size: next } => size = *next,
            Phase::Tta(_) => {
                demands.insert(Demand { size, frozen: GROUPS, kept: None });
            }
            Phase::Train(train) => {
                let kept = train.freezing.is_cached().then_some(train.freezing.augmented_copies());
                demands.insert(Demand { size, frozen: GROUPS, kept });
                // A head alone takes next to nothing.
                if train.freezing.frozen() + 1 < GROUPS {
                    demands.insert(Demand { size, frozen: train.freezing.frozen(), kept });
                }
            }
        }
    }
    demands
}

/// Bytes that this process can still have: what the machine has free, or what a limit of its control group or of its
/// address space leaves of that. Nothing where the system does not say.
pub(crate) fn available() -> Option<u64> {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let free = field(&text("/proc/meminfo")?, "MemAvailable:")? * 1024;
    let group = text("/proc/self/cgroup").and_then(|groups| of_groups(Path::new("/sys/fs/cgroup"), &groups));
    let space = (|| {
        let limit = field(&text("/proc/self/limits")?, "Max address space")?;
        let used = field(&text("/proc/self/status")?, "VmSize:")? * 1024;
        Some(limit.saturating_sub(used))
    })();
    [Some(free), group, space].into_iter().flatten().min()
}

/// The first number after a name in a text of lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What control groups (version 2) leave, this process's and those that it is within; `groups` is `/proc/self/cgroup`.
fn of_groups(root: &Path, groups: &str) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(path.trim_end());
    let left = |folder: &Path| {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let limit: u64 = text("memory.max")?.trim().parse().ok()?;
        let used: u64 = text("memory.current")?.trim().parse().ok()?;
        // Pages of files are given back when memory is asked for.
        let files = field(&text("memory.stat")?, "inactive_file").unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(files)))
    };
    own.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(left).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::builder::{Preset, RecipeBuilder};

    #[test]
    fn numbers_are_found_in_the_systems_tables() {
        let meminfo = "MemTotal:       24680852 kB\nMemFree:         1234 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(field(meminfo, "MemAvailable:"), Some(22_000_000));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max address space         unlimited            unlimited            bytes     \n";
        assert_eq!(field(limits, "Max address space"), None);
        let limits = "Max address space         2048000000           unlimited            bytes\n";
        assert_eq!(field(limits, "Max address space"), Some(2_048_000_000));
        assert_eq!(field("", "VmSize:"), None);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("user/job");
        std::fs::create_dir_all(&inner).unwrap();
        let limit = |folder: &Path, max: &str, current: &str, files: &str| {
            std::fs::write(folder.join("memory.max"), format!("{max}\n")).unwrap();
            std::fs::write(folder.join("memory.current"), format!("{current}\n")).unwrap();
            std::fs::write(folder.join("memory.stat"), format!("anon 1\ninactive_file {files}\n")).unwrap();
        };
        let left = || of_groups(root.path(), "0::/user/job\n");
        assert_eq!(left(), None, "no group has a limit");
        limit(&inner, "max", "500", "0");
        assert_eq!(left(), None);
        limit(&inner, "1000", "500", "100");
        assert_eq!(left(), Some(600));
        limit(&root.path().join("user"), "800", "700", "0");
        assert_eq!(left(), Some(100));
        limit(&root.path().join("user"), "800", "900", "0");
        assert_eq!(left(), Some(0));
    }

    #[test]
    fn a_recipe_asks_at_each_of_its_sizes() {
        let recipe = RecipeBuilder::new(Preset::Full, 32).then_sizes([48]).augmented(true).build();
        let all = demands(&recipe, 0, 32);
        for size in [32, 48] {
            assert!(all.contains(&Demand { size, frozen: 0, kept: None }));
            assert!(all.contains(&Demand { size, frozen: GROUPS, kept: Some(0) }));
        }
        let rest = demands(&recipe, recipe.phases.len() - 1, 48);
        assert_eq!(rest.into_iter().collect::<Vec<_>>(), [Demand { size: 48, frozen: GROUPS, kept: None }]);
    }
}
