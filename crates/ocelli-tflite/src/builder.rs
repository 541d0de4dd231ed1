//! Tensors and operators, one after the other.

use ocelli_nn::graph::UniqueNames;

use crate::flatbuffer::Field;
use crate::schema::{Fused, Kind, code, field};

/// A tensor, for one image.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub kind: Kind,
    /// The bytes of a constant. Other tensors have a free number of images as their first dimension.
    pub data: Option<Vec<u8>>,
}

/// An operator with its options.
pub struct Operator {
    pub code: i32,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
    pub options: Vec<(usize, Field<'static>)>,
}

/// What has been written so far; tensors are named by their places.
#[derive(Default)]
pub struct Builder {
    pub tensors: Vec<Tensor>,
    pub operators: Vec<Operator>,
    names: UniqueNames,
}

impl Builder {
    /// What follows is a part of this.
    pub fn part(&mut self, name: &str) {
        self.names.part(name);
    }

    fn tensor(&mut self, name: &str, kind: Kind, shape: Vec<usize>, data: Option<Vec<u8>>) -> usize {
        let name = self.names.unique(name);
        self.tensors.push(Tensor { name, shape, kind, data });
        self.tensors.len() - 1
    }

    /// What a file takes.
    pub fn input(&mut self, name: &str, kind: Kind, shape: Vec<usize>) -> usize {
        self.tensor(name, kind, shape, None)
    }

    /// Gives a tensor a name that nothing else has yet.
    pub fn rename(&mut self, tensor: usize, name: &str) {
        self.tensors[tensor].name = name.to_owned();
        self.names.take(name);
    }

    pub fn shape(&self, tensor: usize) -> &[usize] {
        &self.tensors[tensor].shape
    }

    pub fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> usize {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, Kind::Float32, shape.to_vec(), Some(data))
    }

    /// One float.
    pub fn float(&mut self, name: &str, value: f32) -> usize {
        self.floats(name, &[], &[value])
    }

    pub fn ints(&mut self, name: &str, shape: &[usize], values: &[i32]) -> usize {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, Kind::Int32, shape.to_vec(), Some(data))
    }

    /// An operator of one output, which it returns.
    pub fn operator(
        &mut self,
        name: &str,
        code: i32,
        inputs: &[usize],
        options: Vec<(usize, Field<'static>)>,
        shape: &[usize],
    ) -> usize {
        let output = self.tensor(name, Kind::Float32, shape.to_vec(), None);
        self.operators.push(Operator { code, inputs: inputs.to_vec(), outputs: vec![output], options });
        output
    }

    /// Of each value.
    pub fn each(&mut self, name: &str, code: i32, x: usize) -> usize {
        let shape = self.shape(x).to_vec();
        self.operator(name, code, &[x], Vec::new(), &shape)
    }

    /// Of two tensors, of which the second is broadcast.
    pub fn binary(&mut self, name: &str, code: i32, x: usize, y: usize) -> usize {
        let shape = self.shape(x).to_vec();
        self.operator(name, code, &[x, y], Vec::new(), &shape)
    }

    /// A sum with an activation.
    pub fn add(&mut self, x: usize, y: usize, fused: Fused) -> usize {
        let shape = self.shape(x).to_vec();
        self.operator("add", code::ADD, &[x, y], vec![(field::ONLY, Field::I8(fused as i8))], &shape)
    }

    pub fn mul(&mut self, x: usize, y: usize) -> usize {
        self.binary("mul", code::MUL, x, y)
    }

    /// A product with `[outputs, inputs]` over the last dimension, and a bias if there is one.
    pub fn fully_connected(&mut self, x: usize, weight: usize, bias: Option<usize>) -> usize {
        let mut shape = self.shape(x).to_vec();
        *shape.last_mut().expect("it has dimensions") = self.shape(weight)[0];
        let keep = (field::fully_connected::KEEP_NUM_DIMS, Field::Bool(shape.len() > 2));
        let inputs: Vec<usize> = [x, weight].into_iter().chain(bias).collect();
        self.operator("fully_connected", code::FULLY_CONNECTED, &inputs, vec![keep], &shape)
    }

    /// In this shape for each image.
    pub fn reshape(&mut self, x: usize, shape: &[usize]) -> usize {
        let whole: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
        if self.shape(x) == whole {
            return x;
        }
        // As many images as there are.
        let sizes: Vec<i32> = std::iter::once(-1).chain(shape.iter().map(|size| *size as i32)).collect();
        let sizes = self.ints("shape", &[sizes.len()], &sizes);
        self.operator("reshape", code::RESHAPE, &[x, sizes], Vec::new(), &whole)
    }

    pub fn transpose(&mut self, x: usize, order: &[usize]) -> usize {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape(x)[axis]).collect();
        let order: Vec<i32> = order.iter().map(|&axis| axis as i32).collect();
        let order = self.ints("order", &[order.len()], &order);
        self.operator("transpose", code::TRANSPOSE, &[x, order], Vec::new(), &shape)
    }

    /// A mean, a sum or a maximum over these axes, which keep the length 1 or vanish.
    pub fn reduce(&mut self, name: &str, code: i32, x: usize, axes: &[usize], keep: bool) -> usize {
        let shape = self.shape(x).iter().enumerate();
        let shape: Vec<usize> = match keep {
            true => shape.map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect(),
            false => shape.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &size)| size).collect(),
        };
        let axes: Vec<i32> = axes.iter().map(|&axis| axis as i32).collect();
        let axes = self.ints("axes", &[axes.len()], &axes);
        self.operator(name, code, &[x, axes], vec![(field::ONLY, Field::Bool(keep))], &shape)
    }

    /// More before and after each axis: zeros, or another value.
    pub fn pad(&mut self, x: usize, more: &[[usize; 2]], value: Option<f32>) -> usize {
        let shape: Vec<usize> =
            self.shape(x).iter().zip(more).map(|(size, [before, after])| before + size + after).collect();
        let numbers: Vec<i32> = more.iter().flatten().map(|&size| size as i32).collect();
        let paddings = self.ints("paddings", &[more.len(), 2], &numbers);
        match value {
            None => self.operator("pad", code::PAD, &[x, paddings], Vec::new(), &shape),
            Some(value) => {
                let value = self.float("padding", value);
                self.operator("pad", code::PADV2, &[x, paddings, value], Vec::new(), &shape)
            }
        }
    }

    /// Of each image, what begins at `first` of an axis: `length` of it, or all that follows.
    pub fn slice(&mut self, x: usize, axis: usize, first: usize, length: Option<usize>) -> usize {
        let mut shape = self.shape(x).to_vec();
        shape[axis] = length.unwrap_or(shape[axis] - first);
        let mut begin = vec![0; shape.len()];
        begin[axis] = first as i32;
        let mut sizes = vec![-1; shape.len()];
        sizes[axis] = shape[axis] as i32;
        let (begin, sizes) =
            (self.ints("begin", &[begin.len()], &begin), self.ints("sizes", &[sizes.len()], &sizes));
        self.operator("slice", code::SLICE, &[x, begin, sizes], Vec::new(), &shape)
    }

    /// Equal parts of an axis.
    pub fn split(&mut self, x: usize, axis: usize, parts: usize) -> Vec<usize> {
        let mut shape = self.shape(x).to_vec();
        shape[axis] /= parts;
        let axis = self.ints("axis", &[], &[axis as i32]);
        let outputs: Vec<usize> =
            (0..parts).map(|_| self.tensor("split", Kind::Float32, shape.clone(), None)).collect();
        self.operators.push(Operator {
            code: code::SPLIT,
            inputs: vec![axis, x],
            outputs: outputs.clone(),
            options: vec![(field::ONLY, Field::I32(parts as i32))],
        });
        outputs
    }

    pub fn concat(&mut self, parts: &[usize], axis: usize) -> usize {
        let mut shape = self.shape(parts[0]).to_vec();
        shape[axis] = parts.iter().map(|&part| self.shape(part)[axis]).sum();
        let options = vec![(field::ONLY, Field::I32(axis as i32))];
        self.operator("concat", code::CONCATENATION, parts, options, &shape)
    }

    /// Over the last dimension.
    pub fn softmax(&mut self, x: usize) -> usize {
        let shape = self.shape(x).to_vec();
        self.operator("softmax", code::SOFTMAX, &[x], vec![(field::ONLY, Field::F32(1.0))], &shape)
    }

    /// A product of matrices, the second transposed or not.
    pub fn matmul(&mut self, x: usize, y: usize, transposed: bool) -> usize {
        let mut shape = self.shape(x).to_vec();
        let last = shape.len() - 1;
        shape[last] = self.shape(y)[if transposed { last - 1 } else { last }];
        let options = vec![(field::batch_matmul::ADJ_Y, Field::Bool(transposed))];
        self.operator("matmul", code::BATCH_MATMUL, &[x, y], options, &shape)
    }
}
