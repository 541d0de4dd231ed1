//! Another engine, which runs ONNX files in this process.

use std::fmt;
use std::sync::Arc;

use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, TractError, TypedRunnableModel,
    tvec,
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

    /// Loads a file for images of this shape `[images, channels, height, width]`; `T` is u8 or f32, as the file takes
    /// them.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine does not know something in the file, or finds it contradictory.
    pub fn load<T: Datum>(file: &[u8], shape: [usize; 4]) -> Result<Self> {
        Self::load_nodes::<T>(file, shape, &[])
    }

    /// As [`load`](Self::load), to give the values of these nodes instead of the file's outputs.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where there is no such node.
    pub fn load_nodes<T: Datum>(mut file: &[u8], shape: [usize; 4], nodes: &[&str]) -> Result<Self> {
        let mut model = tract_onnx::onnx().model_for_read(&mut file).map_err(refused)?;
        if !nodes.is_empty() {
            model = model.with_outputs_by_name(nodes).map_err(refused)?;
        }
        let model =
            model.with_input_fact(0, InferenceFact::dt_shape(T::datum_type(), shape)).map_err(refused)?;
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
