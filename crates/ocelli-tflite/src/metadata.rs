//! What tools read of a TFLite file beside the network: its metadata, and the files packed into it.
//!
//! The metadata is a FlatBuffer in a buffer of the model, by the schema `metadata_schema.fbs` of MediaPipe, and the files
//! are a ZIP archive after the model.

use std::io::{Cursor, Write};

use ocelli_nn::graph::{Output, UNKNOWN_SCORE};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::flatbuffer::{Field, Object};
use crate::model::{Input, Options};

/// The name of the buffer.
pub const ENTRY: &str = "TFLITE_METADATA";
const IDENTIFIER: &[u8; 4] = b"M001";
/// The file of the classes' names.
const LABELS: &str = "labels.txt";

/// Places of fields, and values of enums.
mod field {
    pub mod model {
        pub const NAME: usize = 0;
        pub const SUBGRAPHS: usize = 3;
        pub const MIN_PARSER_VERSION: usize = 7;
    }
    pub mod subgraph {
        pub const INPUTS: usize = 2;
        pub const OUTPUTS: usize = 3;
    }
    pub mod tensor {
        pub const NAME: usize = 0;
        pub const DESCRIPTION: usize = 1;
        pub const CONTENT: usize = 3;
        pub const PROCESS_UNITS: usize = 4;
        pub const FILES: usize = 6;
    }
    pub mod content {
        pub const KIND: usize = 0;
        pub const PROPERTIES: usize = 1;
        pub const FEATURES: u8 = 1;
        pub const IMAGES: u8 = 2;
    }
    pub mod image {
        pub const COLOR_SPACE: usize = 0;
        pub const RGB: i8 = 1;
    }
    pub mod unit {
        pub const KIND: usize = 0;
        pub const OPTIONS: usize = 1;
        pub const NORMALIZATION: u8 = 1;
    }
    pub mod file {
        pub const NAME: usize = 0;
        pub const DESCRIPTION: usize = 1;
        pub const KIND: usize = 2;
        pub const TENSOR_AXIS_LABELS: i8 = 2;
    }
}

/// The metadata's bytes.
pub fn describe(options: &Options) -> Vec<u8> {
    let (normalization, of_images) = match &options.input {
        Input::Pixels(_) => (None, "Pixels from 0 to 255, which the model normalizes"),
        Input::Normalized(normalization) => (normalization.as_ref(), "Normalized pixels"),
    };
    let rgb = Object::Table(vec![(field::image::COLOR_SPACE, Field::I8(field::image::RGB))]);
    let mut images = tensor("images", of_images, field::content::IMAGES, rgb);
    if let Some(normalization) = normalization {
        let values = Object::Table(vec![
            (0, Object::Floats(once(&normalization.mean)).into()),
            (1, Object::Floats(once(&normalization.std)).into()),
        ]);
        let unit = Object::Table(vec![
            (field::unit::KIND, Field::U8(field::unit::NORMALIZATION)),
            (field::unit::OPTIONS, values.into()),
        ]);
        images.push((field::tensor::PROCESS_UNITS, Object::List(vec![unit]).into()));
    }
    let features = || Object::Table(Vec::new());
    let of_output = match options.output {
        Output::Features => "Pooled features",
        Output::Logits => "Outputs before softmax or sigmoid, of each class",
        _ => "Probability of each class",
    };
    let mut output = tensor(options.output.name(), of_output, field::content::FEATURES, features());
    if has_labels(options) {
        let labels = Object::Table(vec![
            (field::file::NAME, Object::text(LABELS).into()),
            (field::file::DESCRIPTION, Object::text("The classes").into()),
            (field::file::KIND, Field::I8(field::file::TENSOR_AXIS_LABELS)),
        ]);
        output.push((field::tensor::FILES, Object::List(vec![labels]).into()));
    }
    let mut outputs = vec![Object::Table(output)];
    if options.unknown.is_some() {
        let what = "How unlike the training photos an image is";
        outputs.push(Object::Table(tensor(UNKNOWN_SCORE, what, field::content::FEATURES, features())));
    }
    let subgraph = Object::Table(vec![
        (field::subgraph::INPUTS, Object::List(vec![Object::Table(images)]).into()),
        (field::subgraph::OUTPUTS, Object::List(outputs).into()),
    ]);
    let model = Object::Table(vec![
        (field::model::NAME, Object::text("Image classifier").into()),
        (field::model::SUBGRAPHS, Object::List(vec![subgraph]).into()),
        (field::model::MIN_PARSER_VERSION, Object::text("1.0.0").into()),
    ]);
    model.to_bytes(IDENTIFIER)
}

/// The fields of a tensor's table.
fn tensor(
    name: &'static str,
    description: &'static str,
    kind: u8,
    properties: Object<'static>,
) -> Vec<(usize, Field<'static>)> {
    let content = Object::Table(vec![
        (field::content::KIND, Field::U8(kind)),
        (field::content::PROPERTIES, properties.into()),
    ]);
    vec![
        (field::tensor::NAME, Object::text(name).into()),
        (field::tensor::DESCRIPTION, Object::text(description).into()),
        (field::tensor::CONTENT, content.into()),
    ]
}

/// One number where that of each channel is the same: not every tool has more.
fn once(values: &[f32]) -> Vec<f32> {
    let is_one = values.iter().all(|value| *value == values[0]);
    values[..if is_one { values.len().min(1) } else { values.len() }].to_vec()
}

fn has_labels(options: &Options) -> bool {
    options.output != Output::Features && !options.labels.is_empty()
}

/// The file of the classes' names, where the output has them.
pub fn labels(options: &Options) -> Option<(String, Vec<u8>)> {
    let lines = || options.labels.iter().flat_map(|label| [label.as_str(), "\n"]).collect::<String>();
    has_labels(options).then(|| (LABELS.to_owned(), lines().into_bytes()))
}

/// A model with files after it: as they are, so that they can be mapped into memory.
pub fn pack(model: Vec<u8>, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    if files.is_empty() {
        return model;
    }
    let mut out = Cursor::new(model);
    out.set_position(out.get_ref().len() as u64);
    let mut archive = ZipWriter::new(out);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in files {
        archive.start_file(name.as_str(), stored).expect("a name, in memory");
        archive.write_all(content).expect("memory takes what it is given");
    }
    archive.finish().expect("memory takes what it is given").into_inner()
}
