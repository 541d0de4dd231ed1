//! Narrow groups computed together. Groups with fewer channels than a vector has lanes are merged into one
//! group whose weights between them are zeros: idle lanes do the additional multiplications.

use super::is_depthwise;
use crate::{isa::Isa, shape::Conv2dShape, simd};
use std::{borrow::Cow, ops::Range};

/// How many groups are merged into one: as many as fill a vector with their channels. That takes no more
/// multiplications than each group by itself, though most are by 0 (so an infinity or NaN reaches the outputs
/// of the groups that its own is merged with).
pub(super) fn groups_to_merge(shape: &Conv2dShape) -> usize {
    if is_depthwise(shape) {
        return 1;
    }
    let fit = simd::lanes(Isa::current()) / shape.group_in().max(shape.group_out());
    (1..=fit).rev().find(|groups| shape.groups.is_multiple_of(*groups)).unwrap_or(1)
}

/// The convolution with merged groups.
pub(super) fn merged_shape(shape: &Conv2dShape) -> Conv2dShape {
    Conv2dShape { groups: shape.groups / groups_to_merge(shape), ..*shape }
}

/// [`merged_shape`] and its weights.
pub(super) fn merge_groups<'a>(shape: &Conv2dShape, weights: &'a [f32]) -> (Conv2dShape, Cow<'a, [f32]>) {
    let merged = merged_shape(shape);
    if merged == *shape {
        return (merged, Cow::Borrowed(weights));
    }
    let mut merged_weights = vec![0.0; merged.weight_len()];
    for (own, in_merged) in weight_rows(shape) {
        merged_weights[in_merged].copy_from_slice(&weights[own]);
    }
    (merged, Cow::Owned(merged_weights))
}

/// Where each output's weights are, in the convolution's own weights and in those with merged groups.
pub(super) fn weight_rows(shape: &Conv2dShape) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let merged = groups_to_merge(shape);
    let (len, group_out) = (shape.weight_len() / shape.out_channels.max(1), shape.group_out());
    (0..shape.out_channels).map(move |output| {
        let row = output * merged + output / group_out % merged;
        (output * len..(output + 1) * len, row * len..(row + 1) * len)
    })
}
