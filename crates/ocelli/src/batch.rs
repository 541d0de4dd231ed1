//! From the loader's numbers to tensors.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::Batch;

/// `[images, 3, size, size]`, lying in memory as the loader made it: channels last.
pub(crate) fn to_tensor(batch: &Batch, device: &Device) -> Tensor<4> {
    let images = TensorData::new(batch.images.clone(), batch.shape);
    Tensor::<4>::from_data(images, device).permute([0, 3, 1, 2])
}
