//! What a TFLite file says, as plain values.

use crate::flatbuffer::Table;
use crate::schema::{self, Kind, field};
use crate::{Error, Result};

/// The first graph of a file.
pub struct File<'a> {
    pub tensors: Vec<Tensor<'a>>,
    pub operators: Vec<Operator<'a>>,
    pub input: usize,
}

pub struct Tensor<'a> {
    pub name: &'a str,
    /// For one image.
    pub shape: Vec<usize>,
    pub kind: Kind,
    /// Of a constant.
    pub data: Option<&'a [u8]>,
}

pub struct Operator<'a> {
    pub code: i32,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    pub options: Option<Table<'a>>,
}

impl<'a> File<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let root =
            Table::root(bytes, schema::IDENTIFIER).ok_or_else(|| refused("its beginning is another"))?;
        let codes: Vec<i32> = root
            .tables(field::model::OPERATOR_CODES)
            .iter()
            .map(|code| {
                let old = i32::from(code.i8(field::operator_code::DEPRECATED_BUILTIN_CODE));
                old.max(code.i32(field::operator_code::BUILTIN_CODE))
            })
            .collect();
        let buffers = root.tables(field::model::BUFFERS);
        let graph = root.tables(field::model::SUBGRAPHS).into_iter().next();
        let graph = graph.ok_or_else(|| refused("it has no graph"))?;
        let tensors = graph.tables(field::subgraph::TENSORS).into_iter().map(|tensor| {
            let name = tensor.text(field::tensor::NAME);
            let shape = sizes(tensor.ints(field::tensor::SHAPE))?;
            let kind = match tensor.i8(field::tensor::TYPE) {
                0 => Kind::Float32,
                2 => Kind::Int32,
                3 => Kind::Uint8,
                kind => return Err(refused(format!("the tensor {name:?} has the type {kind}"))),
            };
            let buffer = tensor.i32(field::tensor::BUFFER);
            let data = match usize::try_from(buffer).ok().and_then(|number| buffers.get(number)) {
                None => return Err(refused(format!("there is no buffer {buffer}"))),
                Some(_) if buffer == 0 => None,
                Some(buffer) => Some(buffer.data(field::ONLY)),
            };
            let each = if kind == Kind::Uint8 { 1 } else { 4 };
            if data.is_some_and(|data| data.len() != each * shape.iter().product::<usize>()) {
                return Err(refused(format!("the tensor {name:?} has not as many bytes as its shape")));
            }
            Ok(Tensor { name, shape, kind, data })
        });
        let tensors: Vec<Tensor> = tensors.collect::<Result<_>>()?;
        let places = |values: Vec<i32>| {
            let places = sizes(values)?;
            match places.iter().find(|&&place| place >= tensors.len()) {
                Some(place) => Err(refused(format!("there is no tensor {place}"))),
                None => Ok(places),
            }
        };
        let operators = graph.tables(field::subgraph::OPERATORS).into_iter().map(|operator| {
            let code = usize::try_from(operator.i32(field::operator::OPCODE_INDEX)).ok();
            let code =
                code.and_then(|code| codes.get(code)).ok_or_else(|| refused("an operator has no code"))?;
            let kind = operator.i8(field::operator::BUILTIN_OPTIONS_TYPE) as u8;
            if kind != schema::options(*code) {
                return Err(refused(format!("the operator {code} has options of the kind {kind}")));
            }
            Ok(Operator {
                code: *code,
                inputs: places(operator.ints(field::operator::INPUTS))?,
                outputs: places(operator.ints(field::operator::OUTPUTS))?,
                options: operator.table(field::operator::BUILTIN_OPTIONS),
            })
        });
        let operators = operators.collect::<Result<_>>()?;
        let inputs = places(graph.ints(field::subgraph::INPUTS))?;
        let &[input] = &inputs[..] else { return Err(refused("it has not one input")) };
        Ok(Self { tensors, operators, input })
    }
}

fn sizes(values: Vec<i32>) -> Result<Vec<usize>> {
    let sizes: std::result::Result<_, _> = values.into_iter().map(usize::try_from).collect();
    sizes.map_err(|_| refused("a number is negative"))
}

pub fn refused(reason: impl Into<String>) -> Error {
    Error::NotReadable { reason: reason.into() }
}
