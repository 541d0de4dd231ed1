//! Another engine, which runs ONNX files in this process.

use std::fmt;
use std::sync::Arc;

use tract_onnx::prelude::{
    Datum, DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, TractError,
    TypedRunnableModel, tvec,
};

use crate::{Error, Result};

/// An ONNX file, loaded by tract for a batch of one size.
pub struct Engine {
    runnable: Arc<TypedRunnableModel>,
    shape: [usize; 4],
}

impl Engine {
    /// Its name and version.
    pub const NAME: &str = "tract 0.23";

    /// Loads a file that takes u8, for images of this shape `[images, channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine does not know something in the file, or finds it contradictory.
    pub fn pixels(file: &[u8], shape: [usize; 4]) -> Result<Self> {
        Self::load(file, u8::datum_type(), shape, &[])
    }

    /// As [`pixels`](Self::pixels), for a file that takes f32.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels).
    pub fn floats(file: &[u8], shape: [usize; 4]) -> Result<Self> {
        Self::load(file, f32::datum_type(), shape, &[])
    }

    /// Loads a file that takes u8 or f32, to give the values of these nodes instead of its outputs.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels), and where there is no such node.
    pub fn nodes<T: Datum>(file: &[u8], shape: [usize; 4], nodes: &[&str]) -> Result<Self> {
        Self::load(file, T::datum_type(), shape, nodes)
    }

    fn load(mut file: &[u8], kind: DatumType, shape: [usize; 4], nodes: &[&str]) -> Result<Self> {
        let mut model = tract_onnx::onnx().model_for_read(&mut file).map_err(refused)?;
        if !nodes.is_empty() {
            model = model.with_outputs_by_name(nodes).map_err(refused)?;
        }
        let fact = InferenceFact::dt_shape(kind, shape);
        let model = model.with_input_fact(0, fact).map_err(refused)?;
        let runnable = model.into_optimized().and_then(IntoRunnable::into_runnable).map_err(refused)?;
        Ok(Self { runnable, shape })
    }

    /// The values of each output for one batch of images, image after image: `images` are u8 or f32, as the file
    /// was loaded, in the order `[images, channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine fails, or there are fewer or more values than the shape has.
    pub fn run<T: Datum + Copy>(&self, images: &[T]) -> Result<Vec<Vec<f32>>> {
        let input = Tensor::from_shape(&self.shape, images).map_err(refused)?;
        let outputs = self.runnable.run(tvec!(input.into())).map_err(refused)?;
        let values = |output: &Tensor| {
            let view = output.to_plain_array_view::<f32>().map_err(refused)?;
            Ok(view.iter().copied().collect())
        };
        outputs.iter().map(|output| values(output)).collect()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Engine").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// With all causes, in one line.
fn refused(error: TractError) -> Error {
    Error::Engine { engine: Engine::NAME, reason: format!("{error:#}") }
}
