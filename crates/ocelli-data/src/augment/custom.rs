//! Custom transforms.

use std::fmt;
use std::ops::{Index, IndexMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::error::panic_text;
use crate::random::{Draws, Purpose};
use crate::registry::Registry;

type Change = dyn Fn(&mut Pixels, &mut Draws) + Send + Sync;

/// A custom transform: a name, and a function that changes the pixels of a training image.
///
/// It sees the finished sample, cropped and resized, after all geometry and colour, and before normalization;
/// transforms that also work on the sample, such as blur and cutout, come before or after it in the order of
/// [`Augmentation::transforms`](super::Augmentation::transforms). What leaves 0..=255 is clipped.
///
/// Random numbers come from the [`Draws`] that the function is given: they are functions of seed, epoch and
/// image, so that runs are the same with any number of threads, and after a restart. Other sources of
/// randomness would break that.
///
/// A run's `config.toml` and a model's file hold the transform by its name, so a program that resumes such a
/// run, or draws augmented views for test-time augmentation, [registers](Self::register) it first; without
/// it, both are errors. The code is not recorded: keep the name for one transform. For that reason the
/// features of images that a custom transform has changed are never cached on disk: a run computes them anew,
/// also after a restart.
///
/// ```
/// use ocelli_data::augment::CustomTransform;
/// use ocelli_data::Augmentation;
///
/// let negative = CustomTransform::new("negative", |pixels, draws| {
///     if draws.chance(0.5) {
///         pixels.values().iter_mut().flatten().for_each(|value| *value = 255.0 - *value);
///     }
/// });
/// let augmentation = Augmentation::side_on().with(negative.register().unwrap());
/// # let _ = augmentation;
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct CustomTransform {
    name: String,
    /// Nothing where only the name is known, from the settings of a run or from a model.
    change: Option<Arc<Change>>,
}

/// The pixels of a sample: a square of red, green and blue in 0..=255, not rounded. `pixels[(x, y)]` is one
/// of them.
#[derive(Debug)]
pub struct Pixels<'a> {
    size: usize,
    values: &'a mut [[f32; 3]],
}

/// All that have been registered.
static REGISTERED: Registry<CustomTransform> = Registry::new();

impl CustomTransform {
    /// A transform of this name.
    pub fn new(
        name: impl Into<String>,
        change: impl Fn(&mut Pixels, &mut Draws) + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), change: Some(Arc::new(change)) }
    }

    /// Makes the name known in this process, so that runs can be resumed and models used that were trained
    /// with the transform. Registering the same name again replaces it.
    ///
    /// # Errors
    /// [`DataError::Setting`] where the name is empty, or has other characters than lower-case letters,
    /// digits and hyphens.
    pub fn register(self) -> Result<Self, DataError> {
        if !Registry::<Self>::takes(&self.name) {
            let expected = "a name of lower-case letters, digits and hyphens";
            return Err(DataError::Setting {
                name: "transform",
                value: format!("{:?}", self.name),
                expected,
            });
        }
        REGISTERED.register(&self.name, self.clone());
        Ok(self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a function for the name.
    pub(super) fn validate(&self) -> Result<(), DataError> {
        self.change().map(drop)
    }

    fn change(&self) -> Result<&Change, DataError> {
        self.change.as_deref().ok_or_else(|| DataError::TransformNotRegistered { name: self.name.clone() })
    }

    /// Changes a sample of `size · size · 3` values; `key` is what its numbers are drawn from.
    pub(super) fn apply(&self, size: usize, key: u64, sample: &mut [f32]) -> Result<(), DataError> {
        let change = self.change()?;
        let failed = |reason: String| DataError::Transform { name: self.name.clone(), reason };
        let mut draws = Draws::new(key, Purpose::Augment, 0, 0);
        let mut pixels = Pixels { size, values: sample.as_chunks_mut().0 };
        // Else the image would count as a bad one.
        catch_unwind(AssertUnwindSafe(|| change(&mut pixels, &mut draws))).map_err(|panic| {
            failed(format!("panicked: {}", panic_text(&*panic).unwrap_or("without a message")))
        })?;
        for value in sample {
            if value.is_nan() {
                return Err(failed("made a pixel NaN; pixel values are from 0 to 255".to_owned()));
            }
            *value = value.clamp(0.0, 255.0);
        }
        Ok(())
    }
}

impl Pixels<'_> {
    /// Pixels of a side.
    pub fn size(&self) -> usize {
        self.size
    }

    /// All pixels, row by row from the top.
    pub fn values(&mut self) -> &mut [[f32; 3]] {
        self.values
    }
}

impl Index<(usize, usize)> for Pixels<'_> {
    type Output = [f32; 3];

    fn index(&self, (x, y): (usize, usize)) -> &[f32; 3] {
        assert!(x < self.size && y < self.size, "({x}, {y}) of {0} × {0} pixels", self.size);
        &self.values[y * self.size + x]
    }
}

impl IndexMut<(usize, usize)> for Pixels<'_> {
    fn index_mut(&mut self, (x, y): (usize, usize)) -> &mut [f32; 3] {
        assert!(x < self.size && y < self.size, "({x}, {y}) of {0} × {0} pixels", self.size);
        &mut self.values[y * self.size + x]
    }
}

impl From<String> for CustomTransform {
    fn from(name: String) -> Self {
        REGISTERED.find(&name).unwrap_or(Self { name, change: None })
    }
}

impl From<CustomTransform> for String {
    fn from(transform: CustomTransform) -> Self {
        transform.name
    }
}

/// Transforms are the same if their names are.
impl PartialEq for CustomTransform {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for CustomTransform {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_tuple("CustomTransform").field(&self.name).finish()
    }
}
