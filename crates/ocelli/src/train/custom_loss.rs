//! Custom losses.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{FloatDType, Tensor};
use ocelli_data::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

type Function = dyn Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + Send + Sync;

/// A custom training loss: a name, and a function from logits and targets, both `[images, classes]`, to the
/// mean loss of the batch. Gradients come from Burn's autodiff.
///
/// Targets are 1 where an image has a class and 0 elsewhere; values between come from mixup and CutMix.
///
/// A run's `config.toml` holds the loss by its name, so a program that resumes such a run
/// [registers](Self::register) the loss first; without it, resuming is an error. The code is not recorded:
/// keep the name for one loss.
///
/// ```
/// use burn::tensor::{Tensor, activation};
/// use ocelli::{CustomLoss, TrainOptions};
///
/// let cross_entropy = CustomLoss::new("my-cross-entropy", |logits: Tensor<2>, targets: Tensor<2>| {
///     let [images, _] = logits.dims();
///     (activation::log_softmax(logits, 1) * targets).sum().mul_scalar(-1.0 / images as f32)
/// });
/// let options = TrainOptions { loss: cross_entropy.register().unwrap().into(), ..TrainOptions::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct CustomLoss {
    name: String,
    /// Nothing where only the name is known, from the settings of a run.
    function: Option<Arc<Function>>,
}

/// All that have been registered.
static REGISTERED: Registry<CustomLoss> = Registry::new();

impl CustomLoss {
    /// A loss of this name.
    pub fn new(
        name: impl Into<String>,
        function: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), function: Some(Arc::new(function)) }
    }

    /// Makes the name known in this process, so that runs trained with the loss can be resumed. Registering
    /// the same name again replaces the loss.
    ///
    /// # Errors
    /// [`Error::Setting`] where the name is empty, or has other characters than lower-case letters, digits
    /// and hyphens.
    pub fn register(self) -> Result<Self> {
        if !Registry::<Self>::takes(&self.name) {
            return Err(Error::setting("loss", format!("{:?}", self.name), Registry::<Self>::NAMES));
        }
        REGISTERED.register(&self.name, self.clone());
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a function for the name.
    pub(super) fn check(&self) -> Result<()> {
        self.function().map(drop)
    }

    fn function(&self) -> Result<&Function> {
        self.function.as_deref().ok_or_else(|| Error::LossNotRegistered { name: self.name.clone() })
    }

    /// The loss of a batch: one number that gradients can be computed from.
    pub(super) fn of(&self, logits: Tensor<2>, targets: Tensor<2>) -> Result<Tensor<1>> {
        let device = logits.device();
        let loss = (self.function()?)(logits, targets);
        if loss.dims() != [1] {
            let reason = format!(
                "returns a tensor of {} numbers, and a loss is one: return the mean over the batch",
                loss.dims()[0]
            );
            return Err(self.error(reason));
        }
        if loss.device() != device {
            return Err(self.without_gradients());
        }
        // Always tracked, so that the backward pass of a loss that is not computed from the logits finds no gradients
        // instead of panicking.
        Ok(loss.cast(FloatDType::F32) + Tensor::zeros([1], &device).require_grad())
    }

    /// That no gradient of the loss reaches the network.
    pub(super) fn without_gradients(&self) -> Error {
        self.error("does not depend on the logits, so it has no gradients: compute it from them".to_owned())
    }

    fn error(&self, reason: String) -> Error {
        Error::CustomLoss { name: self.name.clone(), reason }
    }
}

impl From<String> for CustomLoss {
    fn from(name: String) -> Self {
        REGISTERED.find(&name).unwrap_or(Self { name, function: None })
    }
}

impl From<CustomLoss> for String {
    fn from(loss: CustomLoss) -> Self {
        loss.name
    }
}

/// Losses are the same if their names are.
impl PartialEq for CustomLoss {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for CustomLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_tuple("CustomLoss").field(&self.name).finish()
    }
}
