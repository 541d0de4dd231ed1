//! Another engine, which runs ONNX files in this process.

use std::fmt;
use std::sync::Arc;

use prost::Message;
use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, Value, op_registry};
use rten_tensor::Tensor;

use crate::proto::{DataType, ModelProto, ValueInfoProto};
use crate::{Error, Result};

/// An ONNX file, loaded by [rten](https://github.com/robertknight/rten).
pub struct Engine {
    model: rten::Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    pool: Arc<ThreadPool>,
}

/// What the values of images are: u8 or f32.
pub trait Element: Copy {
    /// A tensor of these values.
    #[doc(hidden)]
    fn tensor(shape: &[usize], values: &[Self]) -> Value;
}

impl Element for u8 {
    fn tensor(shape: &[usize], values: &[Self]) -> Value {
        Tensor::from_data(shape, values.to_vec()).into()
    }
}

impl Element for f32 {
    fn tensor(shape: &[usize], values: &[Self]) -> Value {
        Tensor::from_data(shape, values.to_vec()).into()
    }
}

impl Engine {
    /// Its name and version.
    pub const NAME: &str = "rten 0.27";

    /// Loads a file.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine does not know something in the file, or finds it contradictory.
    pub fn load(file: &[u8]) -> Result<Self> {
        Self::load_values(file, &[])
    }

    /// As [`load`](Self::load), to give the values of these names, which are f32, instead of the file's outputs.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where there is no such value.
    pub fn load_values(file: &[u8], names: &[&str]) -> Result<Self> {
        // The engine takes its time over what is no message of this format.
        let mut proto = ModelProto::decode(file).map_err(refused)?;
        let graph = proto.graph.as_mut().ok_or_else(|| refused("it holds no graph"))?;
        let file = match names {
            [] => file.to_vec(),
            names => {
                // What is no output might be computed together with something else.
                let outputs = names.iter().map(|name| ValueInfoProto::of_any_shape(name, DataType::Float));
                graph.output = outputs.collect();
                proto.encode_to_vec()
            }
        };
        // All that this crate writes; the linker leaves out the others.
        let operators = op_registry!(
            Abs,
            Add,
            And,
            AveragePool,
            Cast,
            Clip,
            Concat,
            Conv,
            DequantizeLinear,
            Div,
            Erf,
            Flatten,
            Floor,
            GlobalAveragePool,
            Greater,
            GreaterOrEqual,
            HardSigmoid,
            Identity,
            LayerNormalization,
            Less,
            LessOrEqual,
            MatMul,
            Max,
            MaxPool,
            Min,
            Mod,
            Mul,
            Pad,
            QuantizeLinear,
            Range,
            ReduceMax,
            ReduceMin,
            ReduceSum,
            Relu,
            Reshape,
            Shape,
            Sigmoid,
            Sin,
            Slice,
            Softmax,
            Split,
            Sqrt,
            Squeeze,
            Sub,
            TopK,
            Transpose,
            Where
        );
        let model = ModelOptions::with_ops(operators).load(file).map_err(refused)?;
        let &[input] = model.input_ids() else { return Err(refused("it has not one input")) };
        let outputs = match names {
            [] => model.output_ids().to_vec(),
            names => names
                .iter()
                .map(|name| model.node_id(name))
                .collect::<std::result::Result<_, _>>()
                .map_err(refused)?,
        };
        let pool = Arc::new(ThreadPool::with_num_threads(rayon::current_num_threads()));
        Ok(Self { model, input, outputs, pool })
    }

    /// The values of each output for one batch of images `[images, channels, height, width]`, image after image; u8 or
    /// f32, as the file takes them.
    ///
    /// # Errors
    /// [`Error::Engine`] where the engine fails, or there are fewer or more values than the shape has.
    pub fn run<T: Element>(&self, images: &[T], shape: [usize; 4]) -> Result<Vec<Vec<f32>>> {
        if images.len() != shape.iter().product::<usize>() {
            return Err(refused(format!("{} values for {shape:?}", images.len())));
        }
        let input = T::tensor(&shape, images);
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let outputs = self
            .model
            .run(vec![(self.input, input.into())], &self.outputs, Some(options))
            .map_err(refused)?;
        let values = |output: Value| {
            let tensor = Tensor::<f32>::try_from(output).map_err(refused)?;
            Ok(tensor.into_data())
        };
        outputs.into_iter().map(values).collect()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Engine").finish_non_exhaustive()
    }
}

fn refused(error: impl fmt::Display) -> Error {
    Error::Engine { engine: Engine::NAME, reason: error.to_string() }
}
