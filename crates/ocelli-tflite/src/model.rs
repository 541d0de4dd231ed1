//! A whole file: input, network, outputs.

use std::borrow::Cow;

use ocelli_nn::Graph;
use ocelli_nn::graph::{Output, UnknownParameters};

use crate::builder::{Builder, Operator, Tensor};
use crate::flatbuffer::{Field, Object};
use crate::schema::{self, Kind, code, field};
use crate::{Error, Result, metadata, network, unknown};

/// What a file takes. The file is for one image at a time; interpreters can be told another number.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// `images`: f32, `[images, height, width, channels]`, normalised. How they are normalised is said in the metadata,
    /// if it is given.
    Normalized(Option<Normalization>),
    /// `images`: u8, `[images, height, width, channels]`, from 0 to 255; normalised inside.
    Pixels(Normalization),
}

impl Default for Input {
    fn default() -> Self {
        Self::Normalized(None)
    }
}

/// `(pixel − mean) / std` for each channel, of pixels from 0 to 255.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normalization {
    /// `[channels]`
    pub mean: Vec<f32>,
    /// `[channels]`
    pub std: Vec<f32>,
}

/// How a network is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// What the file takes.
    pub input: Input,
    /// What it gives.
    pub output: Output,
    /// A second output `unknown_score`, f32, `[images, 1]`: how unlike the training photos an image is.
    pub unknown: Option<UnknownParameters>,
    /// The classes: lines of `labels.txt`. Features have none.
    pub labels: Vec<String>,
}

/// A TFLite model in memory.
pub struct Model {
    builder: Builder,
    input: usize,
    outputs: Vec<usize>,
    metadata: Vec<u8>,
    /// What is packed into the file.
    files: Vec<(String, Vec<u8>)>,
}

impl Model {
    /// Writes a graph as TFLite.
    ///
    /// # Errors
    /// [`Error::NoOperator`] where TFLite has nothing for an operation; [`Error::Channels`] where there is not a
    /// normalization for each channel; [`Error::Label`] where a class cannot be a line of `labels.txt`.
    pub fn new(graph: &Graph, options: &Options) -> Result<Self> {
        let [channels, height, width] = graph.image;
        if let Input::Normalized(Some(given)) | Input::Pixels(given) = &options.input {
            for given in [given.mean.len(), given.std.len()] {
                if given != channels {
                    return Err(Error::Channels { channels, given });
                }
            }
        }
        if let Some(class) = options.labels.iter().find(|class| class.contains(['\n', '\r'])) {
            return Err(Error::Label { class: class.clone() });
        }
        let mut builder = Builder::default();
        let shape = vec![1, height, width, channels];
        let (input, images) = match &options.input {
            Input::Normalized(_) => {
                let input = builder.input("images", Kind::Float32, shape);
                (input, input)
            }
            Input::Pixels(normalization) => {
                let input = builder.input("images", Kind::Uint8, shape);
                (input, normalize(&mut builder, input, normalization))
            }
        };
        let found = if options.output == Output::Features { graph.features } else { graph.logits };
        let mut wanted = vec![found];
        wanted.extend(options.unknown.as_ref().map(|_| graph.features));
        let values = network::write(&mut builder, graph, images, &wanted)?;
        let tensor = |value: usize| values[value].expect("it was written");
        let mut outputs = vec![finish(&mut builder, tensor(found), options.output)];
        if let Some(score) = &options.unknown {
            outputs.push(unknown::write(&mut builder, tensor(graph.features), score));
        }
        let metadata = metadata::describe(options);
        let files = metadata::labels(options).into_iter().collect();
        Ok(Self { builder, input, outputs, metadata, files })
    }

    /// Packs a file into the model's, as its labels are: TFLite files are ZIP archives too.
    pub fn attach(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.push((name.to_owned(), content.into()));
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where they are more than a TFLite file can have.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Builder { tensors, operators, .. } = &self.builder;
        let constants: usize = tensors.iter().filter_map(|tensor| tensor.data.as_ref()).map(Vec::len).sum();
        let too_large = |bytes: usize| i32::try_from(bytes).is_err().then_some(Error::TooLarge { bytes });
        too_large(constants).map_or(Ok(()), Err)?;
        let mut codes: Vec<i32> = operators.iter().map(|operator| operator.code).collect();
        codes.sort_unstable();
        codes.dedup();
        // The first is empty: that of tensors without data.
        let mut buffers = vec![Object::Table(Vec::new())];
        let mut numbers = Vec::new();
        for tensor in tensors {
            numbers.push(tensor.data.as_ref().map_or(0, |data| {
                buffers.push(bytes(data));
                buffers.len() as u32 - 1
            }));
        }
        buffers.push(bytes(&self.metadata));
        let of_metadata = buffers.len() as u32 - 1;
        let tensors = tensors.iter().zip(&numbers).map(|(tensor, buffer)| tensor_table(tensor, *buffer));
        let operators = operators.iter().map(|operator| {
            let code = codes.binary_search(&operator.code).expect("it is one of them");
            operator_table(operator, code as u32)
        });
        let subgraph = Object::Table(vec![
            (field::subgraph::TENSORS, Object::List(tensors.collect()).into()),
            (field::subgraph::INPUTS, ints(&[self.input])),
            (field::subgraph::OUTPUTS, ints(&self.outputs)),
            (field::subgraph::OPERATORS, Object::List(operators.collect()).into()),
            (field::subgraph::NAME, Object::text("main").into()),
        ]);
        let named = |tensor: &usize| {
            let name = &self.builder.tensors[*tensor].name;
            Object::Table(vec![(0, Object::text(name).into()), (1, Field::U32(*tensor as u32))])
        };
        let signature = Object::Table(vec![
            (0, Object::List(vec![named(&self.input)]).into()),
            (1, Object::List(self.outputs.iter().map(named).collect()).into()),
            (2, Object::text("serving_default").into()),
        ]);
        let entry =
            Object::Table(vec![(0, Object::text(metadata::ENTRY).into()), (1, Field::U32(of_metadata))]);
        let root = Object::Table(vec![
            (field::model::VERSION, Field::U32(schema::VERSION)),
            (
                field::model::OPERATOR_CODES,
                Object::List(codes.iter().map(|code| code_table(*code)).collect()).into(),
            ),
            (field::model::SUBGRAPHS, Object::List(vec![subgraph]).into()),
            (field::model::DESCRIPTION, Object::text(concat!("ocelli ", env!("CARGO_PKG_VERSION"))).into()),
            (field::model::BUFFERS, Object::List(buffers).into()),
            (field::model::METADATA, Object::List(vec![entry]).into()),
            (field::model::SIGNATURE_DEFS, Object::List(vec![signature]).into()),
        ]);
        let file = root.to_bytes(schema::IDENTIFIER);
        too_large(file.len()).map_or(Ok(()), Err)?;
        Ok(metadata::pack(file, &self.files))
    }
}

fn bytes(data: &[u8]) -> Object<'_> {
    Object::Table(vec![(field::ONLY, Object::Bytes(Cow::Borrowed(data)).into())])
}

fn ints(values: &[usize]) -> Field<'static> {
    Object::Ints(values.iter().map(|value| *value as i32).collect()).into()
}

fn tensor_table(tensor: &Tensor, buffer: u32) -> Object<'_> {
    let mut fields = vec![
        (field::tensor::SHAPE, ints(&tensor.shape)),
        (field::tensor::TYPE, Field::I8(tensor.kind as i8)),
        (field::tensor::BUFFER, Field::U32(buffer)),
        (field::tensor::NAME, Object::text(&tensor.name).into()),
    ];
    if tensor.data.is_none() {
        let mut shape: Vec<i32> = tensor.shape.iter().map(|size| *size as i32).collect();
        shape[0] = -1;
        fields.push((field::tensor::SHAPE_SIGNATURE, Object::Ints(shape).into()));
    }
    Object::Table(fields)
}

fn operator_table(operator: &Operator, code: u32) -> Object<'static> {
    let mut fields = vec![
        (field::operator::OPCODE_INDEX, Field::U32(code)),
        (field::operator::INPUTS, ints(&operator.inputs)),
        (field::operator::OUTPUTS, ints(&operator.outputs)),
    ];
    let kind = schema::options(operator.code);
    if kind != 0 {
        fields.push((field::operator::BUILTIN_OPTIONS_TYPE, Field::U8(kind)));
        fields.push((field::operator::BUILTIN_OPTIONS, Object::Table(operator.options.clone()).into()));
    }
    Object::Table(fields)
}

fn code_table(code: i32) -> Object<'static> {
    let old = i8::try_from(code).unwrap_or(schema::PLACEHOLDER_FOR_GREATER_OP_CODES);
    Object::Table(vec![
        (field::operator_code::DEPRECATED_BUILTIN_CODE, Field::I8(old)),
        (field::operator_code::VERSION, Field::I32(1)),
        (field::operator_code::BUILTIN_CODE, Field::I32(code)),
    ])
}

/// Normalised floats of pixels from 0 to 255.
fn normalize(builder: &mut Builder, pixels: usize, normalization: &Normalization) -> usize {
    builder.part("normalize");
    let shape = builder.shape(pixels).to_vec();
    let kinds = vec![
        (field::cast::FROM, Field::I8(Kind::Uint8 as i8)),
        (field::cast::TO, Field::I8(Kind::Float32 as i8)),
    ];
    let floats = builder.operator("floats", code::CAST, &[pixels], kinds, &shape);
    let mean = builder.floats("mean", &[normalization.mean.len()], &normalization.mean);
    let std = builder.floats("std", &[normalization.std.len()], &normalization.std);
    let shifted = builder.binary("shifted", code::SUB, floats, mean);
    let normalized = builder.binary("normalized", code::DIV, shifted, std);
    builder.part("");
    normalized
}

/// From logits or features to the output of that name. Logits have the name `logits` in each file that has them.
fn finish(builder: &mut Builder, found: usize, output: Output) -> usize {
    let (Output::Probabilities { temperature } | Output::ProbabilityOfEach { temperature }) = output else {
        builder.rename(found, output.name());
        return found;
    };
    builder.rename(found, Output::Logits.name());
    let mut logits = found;
    if temperature != 1.0 {
        let temperature = builder.float("temperature", temperature as f32);
        logits = builder.binary("scaled", code::DIV, logits, temperature);
    }
    let probabilities = match output {
        Output::Probabilities { .. } => builder.softmax(logits),
        _ => builder.each("sigmoid", code::LOGISTIC, logits),
    };
    builder.rename(probabilities, output.name());
    probabilities
}
