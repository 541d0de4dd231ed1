//! Conversion between element types, in the order that maps lie in memory.

use burn::backend::Flex;
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{Buffer, bf16, round_to, widen};

use super::{Maps, maps, primitive};

pub fn to_dtype(input: Tensor<4>, dtype: DType) -> Tensor<4> {
    let x = Maps::new(primitive(input));
    Tensor::from_primitive::<Flex>(match (x.tensor.dtype(), dtype) {
        (DType::F32, DType::BF16) => {
            let mut y = Buffer::<bf16>::take(x.length());
            round_to(&x.values(), &mut y);
            maps(y, x.shape)
        }
        (DType::BF16, DType::F32) => {
            let mut y = Buffer::<f32>::take(x.length());
            widen::<bf16>(&x.values(), &mut y);
            maps(y, x.shape)
        }
        _ => x.tensor,
    })
}
