//! SGD with momentum and AdamW, with a learning rate for each layer group.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use ocelli_nn::{Backbone, GROUPS, Kind, Network, Place, TensorFile};
use serde::{Deserialize, Serialize};

use crate::gradients::ParameterGradients;
use crate::{Error, LearningRates, Result};

/// The decoupled weight decay that learners begin with.
///
/// At the head's usual rate of 0.01 a step takes a hundredth of every weight away. Against no decay this lowers
/// the validation loss of a head on precomputed features on each of four data sets tried (cats and dogs, ants and
/// bees, satellite images, emoji), by 7 to 17 %; accuracy stayed or rose, but for one photo of 153.
pub const DEFAULT_WEIGHT_DECAY: f64 = 1.0;

/// How weights are pulled to 0, apart from the loss (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1711.05101>): each
/// step takes `rate · decay` of a weight away.
///
/// fastai 0.7 adds the decay to the gradient instead, of biases and norms too, and begins with 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WeightDecay {
    /// The decay of each layer group, 0 or more.
    pub groups: [f64; GROUPS],
    /// Whether biases and norms are pulled too.
    pub vectors: bool,
}

impl WeightDecay {
    /// The same decay, of biases and norms too.
    pub fn on_vectors(self) -> Self {
        Self { vectors: true, ..self }
    }

    fn of(&self, place: Place) -> f64 {
        if place.kind == Kind::Weight || self.vectors { self.groups[place.group] } else { 0.0 }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.groups.iter().find(|decay| !(decay.is_finite() && **decay >= 0.0)) {
            Some(decay) => Err(Error::Setting {
                name: "weight decay",
                value: decay.to_string(),
                expected: "a number of at least 0, such as 0.01",
            }),
            None => Ok(()),
        }
    }
}

impl Default for WeightDecay {
    fn default() -> Self {
        DEFAULT_WEIGHT_DECAY.into()
    }
}

impl From<f64> for WeightDecay {
    fn from(decay: f64) -> Self {
        Self { groups: [decay; GROUPS], vectors: false }
    }
}

impl From<[f64; GROUPS]> for WeightDecay {
    fn from(groups: [f64; GROUPS]) -> Self {
        Self { groups, vectors: false }
    }
}

/// Which rule moves the weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "optimizer", rename_all = "kebab-case")]
pub enum Optimizer {
    /// Stochastic gradient descent: `v ← momentum · v + gradient`, `w ← w − rate · v` (PyTorch's rule).
    Sgd {
        /// 0 to below 1. A schedule with a momentum of its own overrides it.
        momentum: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1711.05101>). A schedule's
    /// momentum overrides `beta_1`.
    AdamW {
        /// Decay of the gradient's running mean, 0 to below 1.
        beta_1: f64,
        /// Decay of the squared gradient's running mean, 0 to below 1.
        beta_2: f64,
        /// Added to the root of the squared gradient's mean.
        epsilon: f64,
    },
}

impl Optimizer {
    /// The lesson's: momentum 0.9.
    pub const SGD: Self = Self::Sgd { momentum: 0.9 };
    /// With the paper's constants.
    pub const ADAM_W: Self = Self::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };

    pub(crate) fn check(self) -> Result<Self> {
        let decays = match self {
            Self::Sgd { momentum } => [("momentum", momentum), ("momentum", momentum)],
            Self::AdamW { beta_1, beta_2, .. } => [("beta_1", beta_1), ("beta_2", beta_2)],
        };
        for (name, value) in decays {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::Setting { name, value: value.to_string(), expected: "from 0 to below 1" });
            }
        }
        Ok(self)
    }
}

/// An optimizer at work: its rule, and what it remembers of each parameter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OptimizerState {
    rule: Optimizer,
    weight_decay: WeightDecay,
    /// Steps so far.
    steps: i32,
    /// For each parameter the rule's averages, flattened: SGD's velocity; Adam's mean and mean of squares.
    #[serde(skip)]
    memory: HashMap<ParamId, Vec<Tensor<1>>>,
}

impl OptimizerState {
    pub(crate) fn new(rule: Optimizer, weight_decay: WeightDecay) -> Self {
        Self { rule, weight_decay, steps: 0, memory: HashMap::new() }
    }

    /// Moves every parameter that has a gradient.
    pub(crate) fn step<B: Backbone>(
        &mut self,
        network: Network<B>,
        gradients: ParameterGradients,
        rates: LearningRates,
        momentum: Option<f64>,
    ) -> Network<B> {
        self.steps += 1;
        let places = network.places();
        network.map(&mut Step { state: self, gradients, rates, momentum, places })
    }

    /// Adds what is remembered to a file: `PREFIX.0.NAME`, `PREFIX.1.NAME` for the averages of parameter NAME.
    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        for (id, averages) in &self.memory {
            for (number, average) in averages.iter().enumerate() {
                let name = format!("{prefix}.{number}.{}", network.name(*id));
                let values = average.to_data().try_into_vec().expect("averages are f32");
                file.insert(name, average.dims().to_vec(), values);
            }
        }
    }

    /// Takes what is remembered from a file that [`write`](Self::write) has filled.
    pub(crate) fn read<B: Backbone>(&mut self, network: &Network<B>, prefix: &str, file: &TensorFile) {
        let device = network.device();
        let of = |id: &ParamId| -> Vec<Tensor<1>> {
            let number = |number: usize| file.get(&format!("{prefix}.{number}.{}", network.name(*id)));
            let values = (0..).map_while(number).map(|average| average.values.as_slice());
            values.map(|values| Tensor::from_data(values, &device)).collect()
        };
        let averages = network.places().into_keys().map(|id| (id, of(&id)));
        self.memory = averages.filter(|(_, averages)| !averages.is_empty()).collect();
    }
}

struct Step<'a> {
    state: &'a mut OptimizerState,
    gradients: ParameterGradients,
    rates: LearningRates,
    momentum: Option<f64>,
    places: HashMap<ParamId, Place>,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove(parameter.id) else { return parameter };
        let place = self.places[&parameter.id];
        let rate = self.rates.0[place.group];
        let decay = rate * self.state.weight_decay.of(place);
        let delta = self.state.delta(parameter.id, gradient, rate, self.momentum);
        parameter.map(|old| {
            let shape = old.shape();
            let mut new = old.inner();
            if decay > 0.0 {
                new = new.mul_scalar(1.0 - decay);
            }
            (new - delta.reshape(shape)).autodiff().require_grad()
        })
    }
}

impl OptimizerState {
    /// What is to be taken away from a parameter with this gradient.
    fn delta(&mut self, id: ParamId, gradient: Tensor<1>, rate: f64, momentum: Option<f64>) -> Tensor<1> {
        let mut old = self.memory.remove(&id).into_iter().flatten();
        // What was remembered fades by `share`, and `fresh` comes in.
        let mut average = |share: f64, fresh: Tensor<1>| match old.next() {
            Some(old) => old.mul_scalar(share) + fresh,
            None => fresh,
        };
        let (averages, delta) = match self.rule {
            Optimizer::Sgd { momentum: usual } => {
                let velocity = average(momentum.unwrap_or(usual), gradient);
                (vec![velocity.clone()], velocity.mul_scalar(rate))
            }
            Optimizer::AdamW { beta_1, beta_2, epsilon } => {
                let beta_1 = momentum.unwrap_or(beta_1);
                let mean = average(beta_1, gradient.clone().mul_scalar(1.0 - beta_1));
                let square = average(beta_2, gradient.clone() * gradient.mul_scalar(1.0 - beta_2));
                let averages = vec![mean.clone(), square.clone()];
                let root = (square.div_scalar(1.0 - beta_2.powi(self.steps))).sqrt().add_scalar(epsilon);
                (averages, mean.mul_scalar(rate / (1.0 - beta_1.powi(self.steps))) / root)
            }
        };
        self.memory.insert(id, averages);
        delta
    }
}
