//! Parameters under their published names: looked up in a weights file, or initialised.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};

use crate::{Error, NamedTensor, Result, TensorFile};

/// The names of a network's tensors, by the parameters that hold them.
pub type Names = Arc<BTreeMap<ParamId, String>>;

/// Hands out a network's parameters while it is built.
///
/// Every parameter has the name that torchvision or timm gives it, such as `blocks.1.0.bn1.weight`. Where the
/// builder has a [`TensorFile`], the value is looked up there; else it is drawn, as a pure function of the
/// seed and the name: from ChaCha8 seeded with the first 64 bits of BLAKE3 over the two. The order of
/// construction does not matter.
pub struct Builder<'a> {
    shared: &'a Shared<'a>,
    path: String,
}

struct Shared<'a> {
    device: Device,
    weights: Option<&'a TensorFile>,
    seed: u64,
    input_channels: usize,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    names: BTreeMap<ParamId, String>,
    missing: Vec<String>,
    misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

/// The value of a parameter that no file gives.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Initial {
    /// The same value everywhere.
    Constant(f32),
    /// Normal with mean 0 and standard deviation √(2 / inputs) (He et al. 2015, "fan in", for ReLU).
    KaimingNormal {
        /// The number of inputs of one output.
        inputs: usize,
    },
}

/// Builds a network with `construct`, its parameters taken from `weights` where given.
///
/// `select` says which names the file is asked for; all others are initialised from `seed`, for a new head on
/// a pretrained backbone. Parameters live on `device`, with autodiff and without required gradients. Where
/// `input_channels` is not 3, the kernels of a file's first convolution are fitted to it.
///
/// # Errors
/// [`Error::Mismatch`] where a selected tensor is missing or of another shape, or the file holds a selected
/// name that the network does not ask for.
pub fn build<T>(
    architecture: &str,
    device: &Device,
    weights: Option<&TensorFile>,
    select: impl Fn(&str) -> bool,
    seed: u64,
    input_channels: usize,
    construct: impl FnOnce(&Builder) -> T,
) -> Result<(T, Names)> {
    let selected = weights.map(|file| file.filtered(&select));
    let shared = Shared {
        device: device.clone().autodiff(),
        weights: selected.as_ref(),
        seed,
        input_channels,
        found: RefCell::default(),
    };
    let built = construct(&Builder { shared: &shared, path: String::new() });
    let Found { names, missing, misshapen } = shared.found.into_inner();
    if let Some(file) = &selected {
        let missing: Vec<String> = missing.into_iter().filter(|name| select(name)).collect();
        let known: std::collections::BTreeSet<&str> = names.values().map(String::as_str).collect();
        let unexpected: Vec<String> =
            file.names().filter(|name| !known.contains(name)).map(str::to_owned).collect();
        if !(missing.is_empty() && misshapen.is_empty() && unexpected.is_empty()) {
            return Err(Error::Mismatch {
                origin: file.origin().to_owned(),
                architecture: architecture.to_owned(),
                missing,
                misshapen,
                unexpected,
            });
        }
    }
    Ok((built, Arc::new(names)))
}

impl Builder<'_> {
    /// The builder of a part: its parameters' names begin with this one's path and `name`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Self { shared: self.shared, path }
    }

    /// The device that parameters live on.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// The number of channels of the images: 3, unless they are grey or from another sensor.
    pub fn input_channels(&self) -> usize {
        self.shared.input_channels
    }

    /// A key that depends on the path alone, for layers that draw random values.
    pub fn key(&self) -> u64 {
        hash(0, &self.path)
    }

    /// The parameter `name` of this part, with the given shape.
    pub fn parameter<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        initial: Initial,
    ) -> Param<Tensor<D>> {
        let name = self.at(name).path;
        let id = ParamId::from(hash(0, &name));
        let mut found = self.shared.found.borrow_mut();
        let twice = found.names.insert(id, name.clone());
        assert!(twice.is_none(), "two parameters are named {name}");
        let values = match self.shared.weights.and_then(|file| file.get(&name)) {
            Some(tensor) if tensor.shape == shape => tensor.values.clone(),
            Some(tensor) if fits_but_for_channels(tensor, &shape, self.input_channels()) => {
                with_channels(tensor, self.input_channels())
            }
            Some(tensor) => {
                found.misshapen.push((name.clone(), tensor.shape.clone(), shape.to_vec()));
                self.initial(&name, shape.iter().product(), initial)
            }
            None => {
                found.missing.push(name.clone());
                self.initial(&name, shape.iter().product(), initial)
            }
        };
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.shared.device);
        Param::initialized(id, tensor.set_require_grad(false))
    }

    fn initial(&self, name: &str, length: usize, initial: Initial) -> Vec<f32> {
        match initial {
            Initial::Constant(value) => vec![value; length],
            Initial::KaimingNormal { inputs } => {
                let mut random = ChaCha8Rng::seed_from_u64(hash(self.shared.seed, name));
                let deviation = (2.0 / inputs.max(1) as f32).sqrt();
                let normal = Normal::new(0.0, deviation).expect("a finite deviation");
                (0..length).map(|_| normal.sample(&mut random)).collect()
            }
        }
    }
}

/// The channels of the images that published weights are for.
const PUBLISHED_CHANNELS: usize = 3;

/// Whether this is the weight of a first convolution for images of other channels.
fn fits_but_for_channels(tensor: &NamedTensor, shape: &[usize], channels: usize) -> bool {
    match (&tensor.shape[..], shape) {
        ([to, PUBLISHED_CHANNELS, kernel @ ..], [expected_to, expected, expected_kernel @ ..]) => {
            kernel.len() == 2 && *expected == channels && (to, kernel) == (expected_to, expected_kernel)
        }
        _ => false,
    }
}

/// A first convolution's weight for images of `channels` channels: for one the sum of the kernels of red,
/// green and blue, which gives for a grey image what three equal channels gave; for several these three
/// repeated in turn, scaled so that equal channels give what they gave (timm's rule).
fn with_channels(tensor: &NamedTensor, channels: usize) -> Vec<f32> {
    let [to, published, rows, columns] = tensor.shape[..] else { unreachable!("a convolution's weight") };
    let area = rows * columns;
    let kernel =
        |output: usize, channel: usize| &tensor.values[(output * published + channel) * area..][..area];
    let mut values = Vec::with_capacity(to * channels * area);
    for output in 0..to {
        for channel in 0..channels {
            if channels == 1 {
                values.extend((0..area).map(|point| -> f32 {
                    (0..published).map(|channel| kernel(output, channel)[point]).sum()
                }));
            } else {
                let weight = published as f32 / channels as f32;
                values.extend(kernel(output, channel % published).iter().map(|value| value * weight));
            }
        }
    }
    values
}

/// The first 64 bits of BLAKE3 over a number and a text.
pub(crate) fn hash(number: u64, text: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(text.as_bytes());
    u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("8 of 32 bytes"))
}
