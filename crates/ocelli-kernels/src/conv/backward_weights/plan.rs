//! How the work is divided into segments, blocks and items.

use super::products::BroadcastWidths;
use crate::{element::Element, isa::Isa, shape::Conv2dShape, simd, threads};
use std::ops::Range;

/// How the work is divided. "Vector side" and "broadcast side" are inputs and outputs, or outputs and inputs.
pub(super) struct Plan {
    pub(super) groups: usize,
    /// The vector side is dy's channels.
    pub(super) vector_is_output: bool,
    /// Inputs are gathered into patches of all taps first, because one tap has too few channels for a vector.
    pub(super) gathers_patches: bool,
    pub(super) taps: usize,
    /// Channels of each side in a group; of patches: taps · channels.
    pub(super) vector_len: usize,
    pub(super) broadcast_len: usize,
    /// Blocks of the sides, in channels: what a register tile holds.
    pub(super) vector_block: usize,
    pub(super) broadcast_block: usize,
    /// Rows of output pixels, over all images or pairs of images.
    pub(super) segments: Vec<Range<usize>>,
    /// Rows that are summed at once: those of the vector side stay in the first cache of a core.
    pub(super) rows_at_once: usize,
}

/// What one task computes: blocks of the vector side in one segment.
pub(super) struct Item {
    pub(super) segment: usize,
    pub(super) group: usize,
    pub(super) blocks: Range<usize>,
}

impl Plan {
    pub(super) fn new<T: Element>(isa: Isa, shape: &Conv2dShape) -> Plan {
        let lanes = simd::lanes(isa);
        let all_taps = shape.kernel[0] * shape.kernel[1];
        let (group_in, group_out) = (shape.group_in(), shape.group_out());
        let gathers_patches = all_taps > 1 && group_in < lanes;
        let (inputs, taps) = if gathers_patches { (group_in * all_taps, 1) } else { (group_in, all_taps) };
        // Idle lanes and broadcasts are lost.
        let cost = |vector: usize, broadcast: usize| {
            let width = BroadcastWidths::best(isa, vector <= lanes, broadcast);
            vector.next_multiple_of(lanes) * broadcast.next_multiple_of(width)
        };
        // Where outputs are the vector side, sums are transposed in the end: only where that is faster.
        let vector_is_output = cost(group_out, inputs) * 16 < cost(inputs, group_out) * 15;
        let (vector_len, broadcast_len) =
            if vector_is_output { (group_out, inputs) } else { (inputs, group_out) };
        let mut plan = Plan {
            groups: shape.groups,
            vector_is_output,
            gathers_patches,
            taps,
            vector_len,
            broadcast_len,
            vector_block: if vector_len <= lanes { lanes } else { 2 * lanes },
            broadcast_block: BroadcastWidths::best(isa, vector_len <= lanes, broadcast_len),
            segments: Vec::new(),
            rows_at_once: 1,
        };
        let rows = shape.batch.div_ceil(T::PER_WORD) * shape.out_height();
        // The broadcast side of a segment fits into the cache of a core, or is at least much more than the
        // partial sums; there are enough items to share, and partial sums do not fill the memory.
        let worthwhile = (512 * 1024).max(4 * plan.partial_len() * 4);
        let cached = (rows * shape.out_width() * broadcast_len * 4).div_ceil(worthwhile);
        let blocks = if gathers_patches { 1 } else { plan.vector_blocks() * shape.groups };
        let shared = (threads::target_pieces(16) / blocks).max(1);
        let memory = ((12 << 20) / plan.partial_len().max(1)).max(1);
        let count = cached.max(shared).min(memory).min(rows).max(1);
        let len = rows.div_ceil(count);
        plan.segments = (0..rows).step_by(len).map(|start| start..(start + len).min(rows)).collect();
        let row = shape.out_width().max(1) * if gathers_patches { vector_len } else { plan.vector_block } * 4;
        plan.rows_at_once = (24 * 1024 / row).max(1);
        plan
    }

    /// Block lengths of inputs and outputs.
    pub(super) fn blocks(&self) -> (usize, usize) {
        if self.vector_is_output {
            (self.broadcast_block, self.vector_block)
        } else {
            (self.vector_block, self.broadcast_block)
        }
    }

    pub(super) fn vector_blocks(&self) -> usize {
        self.vector_len.div_ceil(self.vector_block)
    }

    pub(super) fn broadcast_blocks(&self) -> usize {
        self.broadcast_len.div_ceil(self.broadcast_block)
    }

    pub(super) fn padded_vector(&self) -> usize {
        self.vector_blocks() * self.vector_block
    }

    pub(super) fn padded_broadcast(&self) -> usize {
        self.broadcast_blocks() * self.broadcast_block
    }

    /// Sums of a segment: `[group][tap][broadcast][vector]`.
    pub(super) fn partial_len(&self) -> usize {
        self.groups * self.taps * self.padded_broadcast() * self.padded_vector()
    }

    /// Whether the sums of the only segment are the gradient, in its order: `[output][input of the group]`.
    pub(super) fn sums_are_gradient(&self, shape: &Conv2dShape) -> bool {
        let has_one_tap = shape.kernel == [1, 1];
        let fills_blocks = self.vector_len.is_multiple_of(self.vector_block);
        self.segments.len() == 1 && has_one_tap && !self.vector_is_output && fills_blocks
    }

    /// Channels of the inputs' side.
    pub(super) fn inputs(&self) -> usize {
        if self.vector_is_output { self.broadcast_len } else { self.vector_len }
    }

    pub(super) fn items(&self) -> Vec<Item> {
        // Patches are gathered once an item.
        let per_item = if self.gathers_patches { self.vector_blocks() } else { 1 };
        let mut items = Vec::new();
        for segment in 0..self.segments.len() {
            for group in 0..self.groups {
                let ranges = (0..self.vector_blocks()).step_by(per_item).map(|first| first..first + per_item);
                items.extend(ranges.map(|blocks| Item { segment, group, blocks }));
            }
        }
        items
    }
}
