//! Computes what a TFLite file says, in f64: slow and plain, to compare with.
//!
//! Operators do what TensorFlow's documentation says of them, with shapes and options as the file has them.

use std::collections::HashMap;
use std::fmt;

use crate::file::{File, Operator, refused};
use crate::flatbuffer::Table;
use crate::kernels::{self, Array, Window};
use crate::schema::{Kind, code, field};
use crate::{Error, Result};

/// A TFLite file that this crate has written, ready to run. Files of other programs may be refused.
pub struct Interpreter {
    bytes: Vec<u8>,
}

/// Images, channels last, as the file takes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Images<'a> {
    /// Normalised.
    Floats(&'a [f32]),
    /// From 0 to 255.
    Pixels(&'a [u8]),
}

impl Interpreter {
    /// Its name, for people.
    pub const NAME: &str = "Ocelli's own interpreter of TFLite files";

    /// Loads a file.
    ///
    /// # Errors
    /// [`Error::NotReadable`] where something in it cannot be read.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        File::read(bytes)?;
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// The values of the tensors of these names, image after image.
    ///
    /// # Errors
    /// [`Error::NotReadable`] where the file has no tensor of a name, takes other values than these, or does not fit
    /// together.
    pub fn run(&self, images: Images, names: &[&str]) -> Result<Vec<Vec<f32>>> {
        let file = File::read(&self.bytes)?;
        let wanted: Vec<usize> = names
            .iter()
            .map(|name| file.tensors.iter().position(|tensor| tensor.name == *name))
            .collect::<Option<_>>()
            .ok_or_else(|| refused(format!("it does not have the values {names:?}")))?;
        let input = &file.tensors[file.input];
        let values: Vec<f64> = match (images, input.kind) {
            (Images::Floats(values), Kind::Float32) => values.iter().map(|&value| value.into()).collect(),
            (Images::Pixels(values), Kind::Uint8) => values.iter().map(|&value| value.into()).collect(),
            _ => return Err(refused("it takes values of another type")),
        };
        let each: usize = input.shape.iter().product();
        let count = values.len() / each.max(1);
        if values.len() != count * each || count == 0 {
            return Err(refused(format!("{} values are no images of {:?}", values.len(), input.shape)));
        }
        let shape = std::iter::once(count).chain(input.shape.iter().skip(1).copied()).collect();
        let mut known = HashMap::from([(file.input, Array { shape, values })]);
        let last_uses: HashMap<usize, usize> = file
            .operators
            .iter()
            .enumerate()
            .flat_map(|(at, operator)| operator.inputs.iter().map(move |&input| (input, at)))
            .collect();
        for (at, operator) in file.operators.iter().enumerate() {
            let inputs = operator.inputs.iter().map(|input| match known.get(input) {
                Some(array) => Ok(Value::Known(array)),
                None => constant(&file, *input).map(Value::Constant),
            });
            let inputs: Vec<Value> = inputs.collect::<Result<_>>()?;
            let outputs = apply(operator, &inputs)?;
            if outputs.len() != operator.outputs.len() {
                return Err(refused(format!("the operator {} has {} outputs", operator.code, outputs.len())));
            }
            for (&output, array) in operator.outputs.iter().zip(outputs) {
                let tensor = &file.tensors[output];
                // As the file says for one image.
                if array.shape.get(1..) != tensor.shape.get(1..) || tensor.shape.first() != Some(&1) {
                    let (name, said, found) = (tensor.name, &tensor.shape, array.shape);
                    return Err(refused(format!("{name} is said to be {said:?}, and is {found:?}")));
                }
                known.insert(output, array);
            }
            for input in &operator.inputs {
                if last_uses[input] == at && !wanted.contains(input) {
                    known.remove(input);
                }
            }
        }
        let values = |place: usize| {
            let array = known.get(&place).ok_or_else(|| refused("an output is not computed"))?;
            Ok(array.values.iter().map(|value| *value as f32).collect())
        };
        wanted.into_iter().map(values).collect()
    }
}

impl fmt::Debug for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.debug_struct("Interpreter").finish_non_exhaustive()
    }
}

/// An input of an operator.
enum Value<'a> {
    Known(&'a Array),
    Constant(Array),
}

impl Value<'_> {
    fn array(&self) -> &Array {
        match self {
            Self::Known(array) => array,
            Self::Constant(array) => array,
        }
    }

    /// As integers, which are exact in f64.
    fn ints(&self) -> Vec<i64> {
        self.array().values.iter().map(|value| *value as i64).collect()
    }
}

fn constant(file: &File, place: usize) -> Result<Array> {
    let tensor = &file.tensors[place];
    let data =
        tensor.data.ok_or_else(|| refused(format!("{} is used before it is computed", tensor.name)))?;
    let each = |bytes: &[u8]| bytes.try_into().expect("four bytes");
    let values = match tensor.kind {
        Kind::Float32 => data.chunks_exact(4).map(|bytes| f32::from_le_bytes(each(bytes)).into()).collect(),
        Kind::Int32 => data.chunks_exact(4).map(|bytes| i32::from_le_bytes(each(bytes)).into()).collect(),
        Kind::Uint8 => data.iter().map(|&value| value.into()).collect(),
    };
    Ok(Array { shape: tensor.shape.clone(), values })
}

fn apply(operator: &Operator, inputs: &[Value]) -> Result<Vec<Array>> {
    let input = |at: usize| {
        let value = inputs.get(at).map(Value::array);
        value.ok_or_else(|| refused(format!("the operator {} lacks an input", operator.code)))
    };
    let ints = |at: usize| {
        let value = inputs.get(at).map(Value::ints);
        value.ok_or_else(|| refused(format!("the operator {} lacks an input", operator.code)))
    };
    let options =
        || operator.options.ok_or_else(|| refused(format!("the operator {} lacks options", operator.code)));
    let x = input(0)?;
    let binary = |of: fn(f64, f64) -> f64| x.binary(input(1)?, of).ok_or_else(|| misfit(operator));
    Ok(vec![match operator.code {
        code::ADD => fused(options()?.i8(field::ONLY), binary(|x, y| x + y)?)?,
        code::SUB => fused(options()?.i8(field::ONLY), binary(|x, y| x - y)?)?,
        code::MUL => fused(options()?.i8(field::ONLY), binary(|x, y| x * y)?)?,
        code::DIV => fused(options()?.i8(field::ONLY), binary(|x, y| x / y)?)?,
        code::MAXIMUM => binary(f64::max)?,
        code::SQUARED_DIFFERENCE => binary(|x, y| (x - y) * (x - y))?,
        code::CAST => x.clone(),
        code::LOGISTIC => x.each(|x| 1.0 / (1.0 + (-x).exp())),
        code::RELU => x.each(|x| x.max(0.0)),
        code::RELU6 => x.each(|x| x.clamp(0.0, 6.0)),
        code::HARD_SWISH => x.each(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
        code::GELU => x.each(|x| 0.5 * x * libm::erfc(-x / std::f64::consts::SQRT_2)),
        code::SQRT => x.each(f64::sqrt),
        code::RSQRT => x.each(|x| 1.0 / x.sqrt()),
        code::CONV_2D | code::DEPTHWISE_CONV_2D => {
            let options = options()?;
            let is_depthwise = operator.code == code::DEPTHWISE_CONV_2D;
            let (padding, stride, activation, dilation) = if is_depthwise {
                use field::depthwise as at;
                (at::PADDING, [at::STRIDE_H, at::STRIDE_W], at::ACTIVATION, [at::DILATION_H, at::DILATION_W])
            } else {
                use field::conv as at;
                (at::PADDING, [at::STRIDE_H, at::STRIDE_W], at::ACTIVATION, [at::DILATION_H, at::DILATION_W])
            };
            let weight = input(1)?;
            let &[_, rows, columns, _] = &weight.shape[..] else { return Err(misfit(operator)) };
            let window =
                window(options, padding, stride, [rows, columns], dilation.map(|at| options.i32(at)))?;
            let y =
                kernels::conv(x, weight, input(2)?, window, is_depthwise).ok_or_else(|| misfit(operator))?;
            fused(options.i8(activation), y)?
        }
        code::AVERAGE_POOL_2D | code::MAX_POOL_2D => {
            use field::pool as at;
            let options = options()?;
            let size = [at::FILTER_HEIGHT, at::FILTER_WIDTH].map(|at| options.i32(at).max(0) as usize);
            let window = window(options, at::PADDING, [at::STRIDE_H, at::STRIDE_W], size, [1; 2])?;
            let of: fn(&[f64]) -> f64 = match operator.code {
                code::AVERAGE_POOL_2D => |found| found.iter().sum::<f64>() / found.len() as f64,
                _ => |found| found.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            kernels::pool(x, window, of).ok_or_else(|| misfit(operator))?
        }
        code::FULLY_CONNECTED => {
            let weight = input(1)?;
            let bias = inputs.get(2).map(Value::array);
            kernels::fully_connected(x, weight, bias).ok_or_else(|| misfit(operator))?
        }
        code::BATCH_MATMUL => {
            let transposed = options()?.i8(field::batch_matmul::ADJ_Y) != 0;
            kernels::batch_matmul(x, input(1)?, transposed).ok_or_else(|| misfit(operator))?
        }
        code::SOFTMAX => kernels::softmax(x, options()?.f32(field::ONLY).into()),
        code::MEAN | code::SUM | code::REDUCE_MAX => {
            let of: fn(&[f64]) -> f64 = match operator.code {
                code::MEAN => |values| values.iter().sum::<f64>() / values.len() as f64,
                code::SUM => |values| values.iter().sum(),
                _ => |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            };
            kernels::reduce(x, &ints(1)?, options()?.i8(field::ONLY) != 0, of)
                .ok_or_else(|| misfit(operator))?
        }
        code::RESHAPE => kernels::reshape(x, &ints(1)?).ok_or_else(|| misfit(operator))?,
        code::TRANSPOSE => kernels::transpose(x, &ints(1)?).ok_or_else(|| misfit(operator))?,
        code::PAD | code::PADV2 => {
            let value =
                if operator.code == code::PAD { 0.0 } else { *input(2)?.values.first().unwrap_or(&0.0) };
            kernels::pad(x, &ints(1)?, value).ok_or_else(|| misfit(operator))?
        }
        code::SLICE => kernels::slice(x, &ints(1)?, &ints(2)?).ok_or_else(|| misfit(operator))?,
        code::CONCATENATION => {
            let parts: Vec<&Array> = inputs.iter().map(Value::array).collect();
            let axis = options()?.i32(field::ONLY);
            kernels::concat(&parts, axis).ok_or_else(|| misfit(operator))?
        }
        code::SPLIT => {
            let (axis, parts) = (ints(0)?, options()?.i32(field::ONLY));
            return kernels::split(input(1)?, &axis, parts).ok_or_else(|| misfit(operator));
        }
        code => return Err(refused(format!("it has the operator {code}"))),
    }])
}

fn misfit(operator: &Operator) -> Error {
    refused(format!("shapes do not fit together in the operator {}", operator.code))
}

fn fused(activation: i8, y: Array) -> Result<Array> {
    match activation {
        0 => Ok(y),
        1 => Ok(y.each(|y| y.max(0.0))),
        3 => Ok(y.each(|y| y.clamp(0.0, 6.0))),
        other => Err(refused(format!("there is an activation {other}"))),
    }
}

fn window(
    options: Table,
    padding: usize,
    stride: [usize; 2],
    size: [usize; 2],
    dilation: [i32; 2],
) -> Result<Window> {
    let stride = stride.map(|at| options.i32(at).max(0) as usize);
    let dilation = dilation.map(|size| size.max(0) as usize);
    if [stride, dilation, size].concat().contains(&0) {
        return Err(refused("a window has no size"));
    }
    Ok(Window { same: options.i8(padding) == 0, stride, size, dilation })
}
