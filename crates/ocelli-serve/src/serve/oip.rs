//! The Open Inference Protocol, version 2, as Triton, KServe and OpenVINO Model Server speak it over HTTP:
//! <https://github.com/kserve/open-inference-protocol>. With the extension for binary tensors, in which tensors follow the
//! JSON as bytes, and Triton's `classification` parameter.
//!
//! | input `images` | |
//! |---|---|
//! | BYTES `[n]` | image files; in JSON as base64 |
//! | UINT8 `[n, height, width, 3]` | pixels, red, green, blue: upright, in sRGB |
//! | FP32 `[n, 3, size, size]` | normalised values, as an ONNX file of `--preprocessing none` takes them |
//!
//! The output `probabilities` is FP32 `[n, classes]`.

use std::fmt;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ocelli::{Model, Prediction, RgbImage};
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::serve::engine::Source;

/// Where the JSON ends and tensors begin.
const LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const INPUT: &str = "images";
const OUTPUT: &str = "probabilities";

/// What a client asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inference {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Wanted>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Parameters {
    binary_data_output: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<usize>,
    #[serde(default)]
    parameters: InputParameters,
    data: Option<Flat>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: WantedParameters,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct WantedParameters {
    binary_data: Option<bool>,
    /// The number of most probable classes; 0: the probabilities of all.
    classification: usize,
}

/// The numbers or texts of a tensor in JSON, flat or in nested arrays.
#[derive(Default)]
struct Flat {
    numbers: Vec<f32>,
    texts: Vec<String>,
}

/// A tensor that is being read.
struct Filling<'a>(&'a mut Flat);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Self::default();
        Filling(&mut flat).deserialize(deserializer)?;
        Ok(flat)
    }
}

impl<'de> DeserializeSeed<'de> for Filling<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Filling<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("numbers, or texts in base64, or arrays of them")
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.texts.push(text.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Filling(self.0))?.is_some() {}
        Ok(())
    }
}

/// The answer, before its tensors.
#[derive(Serialize)]
struct Answered<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: &'a Option<String>,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: &'static str,
    datatype: &'static str,
    shape: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

impl Data {
    /// Numbers one after the other, texts each with its length, in little-endian order.
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Numbers(numbers) => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Texts(texts) => {
                let with_length =
                    |text: &String| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
                texts.iter().flat_map(with_length).collect()
            }
        }
    }
}

/// What the server is.
pub(crate) fn server() -> Value {
    json!({ "name": "ocelli", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data", "classification"] })
}

/// What a model takes and gives.
pub(crate) fn model(name: &str, model: &Model) -> Value {
    json!({
        "name": name,
        "versions": ["1"],
        "platform": "ocelli",
        "inputs": [{ "name": INPUT, "datatype": "BYTES", "shape": [-1] }],
        "outputs": [{ "name": OUTPUT, "datatype": "FP32", "shape": [-1, model.config().classes.len()] }],
    })
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::bad_request(message)
}

impl Inference {
    /// The request in a body, and the images in it.
    pub(crate) fn read(
        headers: &HeaderMap,
        body: &Bytes,
        model: &Model,
    ) -> Result<(Self, Vec<Source>), Refusal> {
        let length = match headers.get(LENGTH) {
            None => body.len(),
            Some(length) => length
                .to_str()
                .ok()
                .and_then(|length| length.parse().ok())
                .filter(|length| *length <= body.len())
                .ok_or_else(|| wrong("Inference-Header-Content-Length is not a part of the body's length"))?,
        };
        let mut inference: Self = serde_json::from_slice(&body[..length])
            .map_err(|error| wrong(format!("the JSON of the request: {error}")))?;
        let [input] = &mut inference.inputs[..] else {
            return Err(wrong(format!("expected one input, {INPUT:?}")));
        };
        if input.name != INPUT {
            return Err(wrong(format!("the input is called {INPUT:?}")));
        }
        let count = input.shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side));
        let count = count
            .filter(|count| *count <= body.len())
            .ok_or_else(|| wrong("the body is smaller than the shape"))?;
        let data = input.data.take();
        let bytes = match (input.parameters.binary_data_size, &data) {
            (Some(size), None) if length + size == body.len() => Some(body.slice(length..)),
            (None, Some(_)) if length == body.len() => None,
            _ => {
                let message =
                    "expected either \"data\", or \"binary_data_size\" and so many bytes after the JSON";
                return Err(wrong(message));
            }
        };
        let sources = match input.datatype.as_str() {
            "BYTES" => files(&input.shape, bytes, data)?,
            "UINT8" => pixels(&input.shape, count, bytes, data)?,
            "FP32" => values(&input.shape, count, bytes, data, model.config().preprocessing.size)?,
            _ => return Err(wrong("the datatype is BYTES, UINT8 or FP32")),
        };
        for wanted in &inference.outputs {
            if wanted.name != OUTPUT {
                return Err(wrong(format!("the output is called {OUTPUT:?}")));
            }
        }
        if sources.is_empty() {
            return Err(wrong("the request has no image"));
        }
        Ok((inference, sources))
    }

    /// The answer to a request.
    pub(crate) fn answer(&self, model_name: &str, predictions: &[Prediction]) -> Response {
        let all = [Wanted { name: OUTPUT.to_owned(), parameters: WantedParameters::default() }];
        let wanted = if self.outputs.is_empty() { &all[..] } else { &self.outputs };
        let (mut outputs, mut tensors) = (Vec::new(), Vec::new());
        for Wanted { parameters, .. } in wanted {
            let (datatype, width, data) = match parameters.classification {
                0 => {
                    let rows =
                        predictions.iter().flat_map(|prediction| prediction.probabilities.iter().copied());
                    ("FP32", predictions[0].classes.len(), Data::Numbers(rows.collect()))
                }
                most => {
                    let most = most.min(predictions[0].classes.len());
                    let rows = predictions.iter().flat_map(|prediction| classification(prediction, most));
                    ("BYTES", most, Data::Texts(rows.collect()))
                }
            };
            let shape = [predictions.len(), width];
            let (parameters, data) =
                match parameters.binary_data.unwrap_or(self.parameters.binary_data_output) {
                    true => {
                        let bytes = data.to_bytes();
                        let parameters = json!({ "binary_data_size": bytes.len() });
                        tensors.extend(bytes);
                        (Some(parameters), None)
                    }
                    false => (None, Some(data)),
                };
            outputs.push(Output { name: OUTPUT, datatype, shape, parameters, data });
        }
        let answered = Answered { model_name, model_version: "1", id: &self.id, outputs };
        let mut body = serde_json::to_vec(&answered).expect("plain values serialise");
        let length = body.len();
        let is_binary = answered.outputs.iter().any(|output| output.data.is_none());
        body.extend(tensors);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::OK;
        let kind = if is_binary { "application/octet-stream" } else { "application/json" };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if is_binary {
            response.headers_mut().insert(LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// Triton's texts: `0.9:2:cats`, the most probable class first.
fn classification(prediction: &Prediction, most: usize) -> impl Iterator<Item = String> {
    let mut order: Vec<usize> = (0..prediction.classes.len()).collect();
    order.sort_by(|a, b| prediction.probabilities[*b].total_cmp(&prediction.probabilities[*a]));
    let text =
        |index: usize| format!("{}:{index}:{}", prediction.probabilities[index], prediction.classes[index]);
    order.into_iter().take(most).map(text).collect::<Vec<_>>().into_iter()
}

fn files(shape: &[usize], bytes: Option<Bytes>, data: Option<Flat>) -> Result<Vec<Source>, Refusal> {
    let images = match (bytes, data) {
        (Some(bytes), _) => {
            let mut images = Vec::new();
            let mut rest = bytes;
            while !rest.is_empty() {
                let length = rest.first_chunk().map(|length| u32::from_le_bytes(*length) as usize);
                let end = length.map(|length| length.saturating_add(4)).filter(|end| *end <= rest.len());
                let end = end
                    .ok_or_else(|| wrong("each of the BYTES is its length in 4 bytes, and so many bytes"))?;
                images.push(Source::File(rest.split_to(end).slice(4..)));
            }
            images
        }
        (None, Some(Flat { texts, numbers })) if numbers.is_empty() => {
            let decoded =
                texts.iter().map(|text| STANDARD.decode(text).map(|bytes| Source::File(bytes.into())));
            let decoded: Result<Vec<Source>, _> = decoded.collect();
            decoded.map_err(|error| wrong(format!("BYTES in JSON are texts in base64: {error}")))?
        }
        _ => return Err(wrong("BYTES in JSON are texts in base64")),
    };
    // `[n]`, and `[n, 1]` as some clients have it.
    match shape {
        [count] | [count, 1] if *count == images.len() => Ok(images),
        _ => Err(wrong(format!("the shape is not that of {} images: [n]", images.len()))),
    }
}

fn pixels(
    shape: &[usize],
    count: usize,
    bytes: Option<Bytes>,
    data: Option<Flat>,
) -> Result<Vec<Source>, Refusal> {
    let &[images, height, width, 3] = shape else {
        return Err(wrong("the shape of UINT8 is [n, height, width, 3]"));
    };
    let (Ok(high), Ok(wide)) = (u32::try_from(height), u32::try_from(width)) else {
        return Err(wrong("the images are too large"));
    };
    let bytes = match (bytes, data) {
        (Some(bytes), _) => bytes,
        (None, Some(Flat { numbers, texts })) if texts.is_empty() => {
            let is_byte = |number: &f32| number.fract() == 0.0 && (0.0..=255.0).contains(number);
            if !numbers.iter().all(is_byte) {
                return Err(wrong("UINT8 are whole numbers from 0 to 255"));
            }
            numbers.iter().map(|number| *number as u8).collect::<Vec<_>>().into()
        }
        _ => return Err(wrong("UINT8 in JSON are numbers")),
    };
    if bytes.len() != count || count == 0 {
        return Err(wrong(format!("{} bytes are given for a shape of {count}", bytes.len())));
    }
    let image = |rows: &[u8]| RgbImage::new(wide, high, rows.to_vec()).map(Source::Pixels);
    let all: Option<Vec<Source>> = bytes.chunks_exact(count / images).map(image).collect();
    all.ok_or_else(|| wrong("the images have no pixels"))
}

fn values(
    shape: &[usize],
    count: usize,
    bytes: Option<Bytes>,
    data: Option<Flat>,
    size: usize,
) -> Result<Vec<Source>, Refusal> {
    let is_right = matches!(shape, [images, 3, high, wide] if *images > 0 && *high == size && *wide == size);
    if !is_right {
        return Err(wrong(format!("the shape of FP32 is [n, 3, {size}, {size}]")));
    }
    let numbers = match (bytes, data) {
        (Some(bytes), _) if bytes.len() == 4 * count => {
            bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
        (None, Some(Flat { numbers, texts })) if texts.is_empty() && numbers.len() == count => numbers,
        _ => return Err(wrong(format!("expected {count} numbers"))),
    };
    let area = size * size;
    // Channels last, as samples are.
    let image = |planes: &[f32]| {
        Source::Values(
            (0..area)
                .flat_map(|pixel| [planes[pixel], planes[area + pixel], planes[2 * area + pixel]])
                .collect(),
        )
    };
    Ok(numbers.chunks_exact(3 * area).map(image).collect())
}
