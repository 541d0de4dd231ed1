//! The memory check: whether there is enough memory for a recipe, before anything is computed, since a
//! process that runs out of memory is killed without a message.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use ocelli_kernels::peak_of;
use ocelli_nn::{Backbone, GROUPS, Statistics};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::recipe::freezing::Freezing;
use crate::recipe::{Phase, Recipe};
use crate::train::state::TrainState;

/// What a phase of a recipe needs memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Demand {
    /// The image size in pixels.
    size: usize,
    /// The frozen layer groups; [`GROUPS`] for inference only.
    frozen: usize,
    /// Augmented copies whose features are cached.
    copies: Option<usize>,
}

/// Images of the two trials; their difference is the cost per image.
const TRIALS: [usize; 2] = [2, 4];
/// Images of the trials that decide if these exceed the memory: the kernels need less per image for many.
const LARGER_TRIALS: [usize; 2] = [8, 16];
/// Copies of an image's pixels, as f32, between the loader and the network: batches ahead, and the tensor.
const PIXELS: u64 = 4;
/// Copies of all weights: in training, of the best epoch, of the finder; gradients, an optimizer's two
/// moments; packed.
const WEIGHTS: u64 = 8;

impl<B: Backbone> Learner<B> {
    /// Refuses what is left of a recipe after `done` phases if it needs more memory than there is, as far as
    /// the system reports that. The need is measured: a training step of two images, and of four; of more, if
    /// that is too much.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(crate) fn check_memory(&self, recipe: &Recipe, done: usize) -> Result<()> {
        let Some(AvailableMemory { bytes: available, .. }) = available_memory() else { return Ok(()) };
        if self.state.network.device() != Device::flex() {
            return Ok(());
        }
        let data = self.data();
        let batch = data.batch_size().min(data.train_len().max(data.valid_len()));
        for demand in demands(recipe, done, data.size()) {
            let mut cost = self.measure_memory(demand, TRIALS);
            let larger = LARGER_TRIALS[1];
            if cost.of(batch) > available && cost.of(larger) < available && batch >= larger {
                cost = self.measure_memory(demand, LARGER_TRIALS);
            }
            let needed = cost.of(batch);
            if needed > available {
                return Err(Error::Memory {
                    task: demand.task(),
                    batch,
                    size: demand.size,
                    needed,
                    available,
                    fits: cost.largest_batch(available),
                });
            }
        }
        Ok(())
    }

    /// Measures the cost of a demand.
    fn measure_memory(&self, demand: Demand, trials: [usize; 2]) -> Cost {
        let Demand { size, frozen, copies } = demand;
        let mut state = self.state.fork();
        state.set_freezing(Freezing::Streamed { frozen: frozen.min(GROUPS - 1) });
        let statistics = self.options.statistics();
        let [few, more] =
            trials.map(|images| peak_of(|| try_step(&state, statistics, images, size, frozen < GROUPS)));
        let features = few.0;
        // The kernels keep buffers for the next step, up to half of the peak.
        let of_an_image = (more.1.saturating_sub(few.1) / (trials[1] - trials[0]) * 3 / 2) as u64;
        let pixels = (3 * size * size * size_of::<f32>()) as u64;
        let weights: usize = state.network.parameters().iter().sum();
        let copies = copies.map_or(0, |views| {
            let (train, valid) = (self.data().train_len(), self.data().valid_len());
            (features * size_of::<f32>()) as u64 * (train * views.max(1) + valid) as u64
        });
        let fixed = (weights * size_of::<f32>()) as u64 * WEIGHTS + copies;
        Cost { fixed, of_an_image: of_an_image + PIXELS * pixels }
    }
}

/// Runs black images through a network, and, if it is trained, the gradients back. Returns the number of
/// values of one image's features.
fn try_step<B: Backbone>(
    state: &TrainState<B>,
    statistics: Statistics,
    images: usize,
    size: usize,
    is_trained: bool,
) -> usize {
    let pixels = Tensor::<4>::zeros([images, size, size, 3], &state.network.device()).permute([0, 3, 1, 2]);
    let input = state.infer_frozen(pixels);
    let features = input.len() / images;
    if is_trained {
        let (logits, _) = state.forward(&state.network, input, statistics);
        logits.sum().backward();
    }
    features
}

/// The memory of a demand, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Independent of the batch.
    pub(crate) fixed: u64,
    /// Per image.
    pub(crate) of_an_image: u64,
}

impl Cost {
    pub(crate) fn of(self, batch: usize) -> u64 {
        self.fixed + batch as u64 * self.of_an_image
    }

    /// The largest batch that fits, if two images do.
    pub(crate) fn largest_batch(self, available: u64) -> Option<usize> {
        // What is free and what is measured vary by some percent from one start to the next; the suggested
        // batch must still fit.
        let available = available / 10 * 9;
        let fits = (available.saturating_sub(self.fixed) / self.of_an_image.max(1)) as usize;
        // A round number.
        let fits = if fits >= 16 { fits / 8 * 8 } else { fits / 2 * 2 };
        (fits >= 2).then_some(fits)
    }
}

impl Demand {
    fn task(self) -> &'static str {
        match self.frozen {
            GROUPS => "looking at photos",
            0 => "training all layers",
            _ => "training the later layers",
        }
    }
}

/// The demands of a recipe's phases from `done` on; the images begin at this size in pixels.
fn demands(recipe: &Recipe, done: usize, mut size: usize) -> BTreeSet<Demand> {
    let mut demands = BTreeSet::new();
    for phase in recipe.phases.iter().skip(done) {
        match phase {
            Phase::Resize { size: next } => size = *next,
            // It looks itself whether there is memory for what follows.
            Phase::EndUnlessPromising => break,
            Phase::LogisticRegression(_) => {
                demands.insert(Demand { size, frozen: GROUPS, copies: Some(0) });
            }
            Phase::Tta(_) => {
                demands.insert(Demand { size, frozen: GROUPS, copies: None });
            }
            Phase::Train(train) => {
                let copies = train.freezing.is_cached().then_some(train.freezing.augmented_copies());
                demands.insert(Demand { size, frozen: GROUPS, copies });
                // A head alone needs little.
                if train.freezing.frozen() + 1 < GROUPS {
                    demands.insert(Demand { size, frozen: train.freezing.frozen(), copies });
                }
            }
        }
    }
    demands
}

/// Memory that this process can still have, and what keeps it from having more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AvailableMemory {
    /// Bytes.
    pub bytes: u64,
    /// What ends there first.
    pub limit: MemoryLimit,
}

/// What keeps a process from having more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MemoryLimit {
    /// The machine has no more.
    Machine,
    /// A control group (version 2), such as a container's or a job's.
    ControlGroup,
    /// The limit of the address space, as `ulimit -v` sets it.
    AddressSpace,
}

/// The memory that this process can still allocate: what is free, or what a limit of its control group or
/// address space leaves of it. `None` if the system does not report it; only Linux does.
pub fn available_memory() -> Option<AvailableMemory> {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let free = field(&text("/proc/meminfo")?, "MemAvailable:")? * 1024;
    let group = text("/proc/self/cgroup").and_then(|groups| of_groups(Path::new("/sys/fs/cgroup"), &groups));
    let space = (|| {
        let limit = field(&text("/proc/self/limits")?, "Max address space")?;
        let used = field(&text("/proc/self/status")?, "VmSize:")? * 1024;
        Some(limit.saturating_sub(used))
    })();
    let all = [
        (Some(free), MemoryLimit::Machine),
        (group, MemoryLimit::ControlGroup),
        (space, MemoryLimit::AddressSpace),
    ];
    all.into_iter().filter_map(|(bytes, limit)| Some(AvailableMemory { bytes: bytes?, limit })).min()
}

/// The first number after a name in a text of lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What control groups (version 2) leave, of this process and its ancestors; `groups` is `/proc/self/cgroup`.
fn of_groups(root: &Path, groups: &str) -> Option<u64> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(path.trim_end());
    let left = |folder: &Path| {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let limit: u64 = text("memory.max")?.trim().parse().ok()?;
        let used: u64 = text("memory.current")?.trim().parse().ok()?;
        // The page cache is reclaimed when memory is needed.
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
            assert!(all.contains(&Demand { size, frozen: 0, copies: None }));
            assert!(all.contains(&Demand { size, frozen: GROUPS, copies: Some(0) }));
        }
        let rest = demands(&recipe, recipe.phases.len() - 1, 48);
        assert_eq!(rest.into_iter().collect::<Vec<_>>(), [Demand { size: 48, frozen: GROUPS, copies: None }]);
    }
}
