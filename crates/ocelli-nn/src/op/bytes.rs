//! Vectors as bytes, for other processes.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_kernels::{Buffer, bf16, round_to, widen};

use super::kernel::{constant_vector, primitive, values};
use super::{Precision, has_kernels, is_cpu};

impl Precision {
    /// The bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// Writes an f32 vector as little-endian numbers of that precision, rounded to nearest, ties to even.
///
/// # Panics
/// Where the bytes are not as many as the numbers need.
pub fn write_bytes(vector: &Tensor<1>, precision: Precision, bytes: &mut [u8]) {
    if has_kernels(vector) {
        return write(&values(&primitive(vector.clone())), precision, bytes);
    }
    let data = vector.to_data().convert::<f32>();
    write(data.as_slice().expect("converted to f32"), precision, bytes);
}

fn write(values: &[f32], precision: Precision, bytes: &mut [u8]) {
    assert_eq!(bytes.len(), values.len() * precision.bytes(), "bytes for each number");
    match precision {
        Precision::F32 => {
            let numbers = bytes.as_chunks_mut().0.iter_mut();
            numbers.zip(values).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
        }
        Precision::Bf16 => {
            let numbers = bytes.as_chunks_mut().0.iter_mut();
            numbers.zip(&*in_bf16(values)).for_each(|(bytes, value)| *bytes = value.to_le_bytes());
        }
    }
}

fn in_bf16(values: &[f32]) -> Buffer<bf16> {
    let mut rounded = Buffer::take(values.len());
    round_to(values, &mut rounded);
    rounded
}

/// The f32 vector that [`write_bytes`] has written.
///
/// # Panics
/// Where the bytes are not those of whole numbers.
pub fn read_bytes(bytes: &[u8], precision: Precision, device: &Device) -> Tensor<1> {
    assert_eq!(bytes.len() % precision.bytes(), 0, "bytes of whole numbers");
    let mut values = Buffer::<f32>::take(bytes.len() / precision.bytes());
    match precision {
        Precision::F32 => {
            let numbers = bytes.as_chunks().0;
            values.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
        }
        Precision::Bf16 => {
            let numbers = bytes.as_chunks().0;
            let wide = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            values.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = wide(bytes));
        }
    }
    match is_cpu(device) {
        true => constant_vector(values),
        false => Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device),
    }
}

/// The same vector, its numbers rounded to that precision.
pub fn rounded(vector: Tensor<1>, precision: Precision) -> Tensor<1> {
    if precision == Precision::F32 {
        return vector;
    }
    if !has_kernels(&vector) {
        let device = vector.device();
        let mut bytes = vec![0; vector.dims()[0] * precision.bytes()];
        write_bytes(&vector, precision, &mut bytes);
        return read_bytes(&bytes, precision, &device);
    }
    let vector = primitive(vector);
    let vector = values::<f32>(&vector);
    let mut wide = Buffer::<f32>::take(vector.len());
    widen::<bf16>(&in_bf16(&vector), &mut wide);
    constant_vector(wide)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Expected: bfloat16's definition, the upper half of an f32, rounded to nearest, ties to even.
    #[test]
    fn numbers_are_rounded_and_written() {
        let device = Device::flex();
        let numbers = [1.0, -0.0, 257.0 / 256.0, 259.0 / 256.0, -65_536.5, f32::INFINITY];
        let vector = Tensor::<1>::from_data(numbers, &device);
        let mut bytes = [0; 24];
        write_bytes(&vector, Precision::F32, &mut bytes);
        assert_eq!(bytes[..4], 1.0f32.to_le_bytes());
        let read = read_bytes(&bytes, Precision::F32, &device);
        assert_eq!(read.to_data().as_slice::<f32>().unwrap(), numbers);
        let mut bytes = [0; 12];
        write_bytes(&vector, Precision::Bf16, &mut bytes);
        let expected: [u16; 6] = [0x3f80, 0x8000, 0x3f80, 0x3f82, 0xc780, 0x7f80];
        assert_eq!(bytes.as_chunks().0, expected.map(u16::to_le_bytes));
        let read = read_bytes(&bytes, Precision::Bf16, &device).to_data();
        let again = rounded(vector.clone(), Precision::Bf16).to_data();
        let bits = |data: &TensorData| -> Vec<u32> { data.iter::<f32>().map(f32::to_bits).collect() };
        assert_eq!(bits(&read), expected.map(|half| u32::from(half) << 16));
        assert_eq!(bits(&read), bits(&again));
        assert_eq!(bits(&read), bits(&super::super::composed(|| rounded(vector, Precision::Bf16)).to_data()));
    }
}
