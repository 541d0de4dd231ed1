//! From the loader's batches to tensors.

use burn::tensor::{AllocationProperty, Bytes, DType, Device, Tensor, TensorData};
use ocelli_data::Batch;

/// `[images, 3, size, size]`, channels last in memory, as the loader makes it. The batch's values are moved,
/// and their memory returns to the loader once the tensor is dropped.
pub(crate) fn to_tensor(batch: &mut Batch, device: &Device) -> Tensor<4> {
    let bytes = bytes::Bytes::from_owner(std::mem::take(&mut batch.images));
    let bytes = Bytes::from_shared(bytes, AllocationProperty::Other);
    let images = TensorData::from_bytes(bytes, batch.shape, DType::F32);
    Tensor::<4>::from_data(images, device).permute([0, 3, 1, 2])
}
