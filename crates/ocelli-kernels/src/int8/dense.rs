//! Dense and grouped convolutions: register tiles of some pixels × one or two vectors of output channels.
//!
//! Each pixel sums over taps, then over the channels of its input at each tap, four bytes at a time. Padding has been
//! added to the maps before.

use super::{
    epilogue::{Epilogue, store_bytes},
    maps::{Int8Maps, pixel_bytes},
};
use crate::{
    buffer_pool::AlignedWords,
    isa::Isa,
    shape::Conv2dShape,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd, unrolled},
};
use std::ops::Range;

/// Weights in the order `[block of output channels][tap][word of four channels][vector][lane]`.
#[derive(Debug)]
pub(super) struct PackedBytes {
    words: AlignedWords,
    blocks: Vec<Block>,
    /// Words of a group's channels.
    words_per_tap: usize,
    /// Pixels of a register tile.
    tile: usize,
}

/// Output channels that are computed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    /// The first of them, and how many.
    first: usize,
    count: usize,
    vectors: usize,
    /// The first input channel.
    input: usize,
    /// The first word of its weights.
    offset: usize,
}

/// Vectors of a block.
const VECTORS: usize = 2;
/// Pixels of a register tile, where there are many registers and where there are few.
const MANY: usize = 12;
const FEW: usize = 6;

impl PackedBytes {
    /// Packs integers `[outputs, channels / groups, rows, columns]`.
    pub(super) fn pack(
        isa: Isa,
        [inputs, outputs]: [usize; 2],
        kernel: [usize; 2],
        groups: usize,
        weights: &[i8],
    ) -> Self {
        let lanes = simd::lanes(isa);
        let [group_in, group_out] = [inputs / groups, outputs / groups];
        // Groups that do not fill a vector with their channels are computed together, with zeros between them.
        let together = (1..=groups).filter(|together| groups.is_multiple_of(*together));
        let together = together
            .take_while(|together| *together == 1 || together * group_out <= lanes)
            .last()
            .unwrap_or(1);
        let [wide_in, wide_out] = [group_in * together, group_out * together];
        let taps = kernel[0] * kernel[1];
        let words_per_tap = wide_in.div_ceil(4);
        let (mut blocks, mut offset) = (Vec::new(), 0);
        for group in 0..groups / together {
            for first in (0..wide_out).step_by(VECTORS * lanes) {
                let count = (wide_out - first).min(VECTORS * lanes);
                let vectors = count.div_ceil(lanes);
                let input = group * wide_in;
                blocks.push(Block { first: group * wide_out + first, count, vectors, input, offset });
                offset += taps * words_per_tap * vectors * lanes;
            }
        }
        let mut words = AlignedWords::zeros(offset);
        let all = words.as_mut_slice();
        for block in &blocks {
            let mut at = block.offset;
            for tap in 0..taps {
                for word in 0..words_per_tap {
                    for lane in 0..block.vectors * lanes {
                        let output = block.first + lane;
                        let group_first = output / group_out * group_in;
                        let byte = |i: usize| {
                            // The channel in its group, where it is in that of the output.
                            let channel = (block.input + 4 * word + i).checked_sub(group_first);
                            let channel = channel.filter(|channel| *channel < group_in && lane < block.count);
                            channel.map_or(0, |channel| weights[(output * group_in + channel) * taps + tap])
                        };
                        all[at] = u32::from_le_bytes([0, 1, 2, 3].map(|i| byte(i).cast_unsigned()));
                        at += 1;
                    }
                }
            }
        }
        Self { words, blocks, words_per_tap, tile: if simd::has_many_registers(isa) { MANY } else { FEW } }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Pixels of a register tile.
    pub(super) fn tile_pixels(&self) -> usize {
        self.tile
    }
}

/// Some blocks of output channels of a piece of pixels.
pub(super) struct DenseKernel<'a> {
    pub weights: &'a PackedBytes,
    pub shape: &'a Conv2dShape,
    /// With the shape's padding around them.
    pub x: &'a Int8Maps,
    pub epilogue: Epilogue<'a>,
    pub y: SharedMut<u8>,
    pub piece: Range<usize>,
    pub blocks: &'a [Block],
}

/// Where a piece's pixels find their inputs.
struct Inputs {
    /// The first tap of each pixel, filled up to whole tiles.
    pointers: Vec<*const u8>,
    pixels: usize,
    /// The distance of each run of words from the first tap, in bytes.
    runs: Vec<usize>,
    words: usize,
}

impl Kernel for DenseKernel<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let inputs = self.inputs(self.weights.tile);
        for block in self.blocks {
            // SAFETY: the processor has S.
            unsafe {
                match (S::MANY_REGISTERS, block.vectors) {
                    (true, 1) => self.tiles::<S, MANY, 1>(&inputs, block),
                    (true, _) => self.tiles::<S, MANY, 2>(&inputs, block),
                    (false, 1) => self.tiles::<S, FEW, 1>(&inputs, block),
                    (false, _) => self.tiles::<S, FEW, 2>(&inputs, block),
                }
            }
        }
    }
}

impl DenseKernel<'_> {
    fn inputs(&self, tile: usize) -> Inputs {
        let (shape, pixels) = (self.shape, self.piece.len());
        let [_, in_height, in_width, channels] = self.x.shape();
        let (height, width) = (shape.out_height(), shape.out_width());
        let bytes = pixel_bytes(channels);
        let x = self.x.bytes();
        let mut pointers = Vec::with_capacity(pixels.next_multiple_of(tile));
        let mut image = self.piece.start / (height * width);
        let (mut row, mut column) = (self.piece.start / width % height, self.piece.start % width);
        while pointers.len() < pixels {
            let first =
                ((image * in_height + row * shape.stride[0]) * in_width + column * shape.stride[1]) * bytes;
            let count = (width - column).min(pixels - pointers.len());
            let first = x[first..].as_ptr();
            let step = shape.stride[1] * bytes;
            pointers.extend((0..count).map(|pixel| first.wrapping_add(pixel * step)));
            (row, column) = (row + 1, 0);
            if row == height {
                (image, row) = (image + 1, 0);
            }
        }
        // Those that are not there are computed as the last one, and not stored.
        let last = pointers.last().copied().unwrap_or(x.as_ptr());
        pointers.resize(pixels.next_multiple_of(tile), last);
        let [rows, columns] = shape.kernel;
        let words_per_tap = self.weights.words_per_tap;
        let row = |row: usize| row * shape.dilation[0] * in_width * bytes;
        // Taps side by side are one run, where nothing is between them.
        let (runs, words) = match shape.dilation[1] == 1 && words_per_tap * 4 == bytes {
            true => ((0..rows).map(row).collect(), columns * words_per_tap),
            false => {
                let tap = |at: usize| row(at / columns) + at % columns * shape.dilation[1] * bytes;
                ((0..rows * columns).map(tap).collect(), words_per_tap)
            }
        };
        Inputs { pointers, pixels, runs, words }
    }

    #[inline(always)]
    unsafe fn tiles<S: Simd, const P: usize, const V: usize>(&self, inputs: &Inputs, block: &Block) {
        for start in (0..inputs.pixels).step_by(P) {
            // SAFETY: the processor has S; see `tile`.
            unsafe {
                match (self.epilogue.has_residual(), self.epilogue.is_activated()) {
                    (false, false) => self.tile::<S, P, V, false, false>(inputs, block, start),
                    (true, false) => self.tile::<S, P, V, true, false>(inputs, block, start),
                    (_, true) => self.tile::<S, P, V, true, true>(inputs, block, start),
                }
            }
        }
    }

    /// Pixels `start..start + P` as far as there are any. `RESIDUAL`: there may be one; `ACTIVATED`: there is an activation
    /// that is more than a clamp.
    ///
    /// # Safety
    /// The processor has S. Pointers are to a pixel's channels, those of the last pixel with slack behind.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize, const RESIDUAL: bool, const ACTIVATED: bool>(
        &self,
        inputs: &Inputs,
        block: &Block,
        start: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[S::splat_word(0); V]; P];
            let mut weights = self.weights.words.as_ptr().add(block.offset).cast::<f32>();
            let pointers: [*const u8; P] = *inputs.pointers.as_ptr().add(start).cast();
            for run in &inputs.runs {
                let mut at = run + block.input;
                for _ in 0..inputs.words {
                    unrolled!(p < P, {
                        let x = S::splat_word(pointers[p].add(at).cast::<u32>().read_unaligned());
                        for v in 0..V {
                            sums[p][v] = S::dot_bytes(sums[p][v], x, S::load(weights.add(v * S::LANES)));
                        }
                    });
                    at += 4;
                    weights = weights.add(V * S::LANES);
                }
            }
            let stride = pixel_bytes(self.shape.out_channels);
            let first = (self.piece.start + start) * stride + block.first;
            let pixels = P.min(inputs.pixels - start);
            let lanes = block.count - (V - 1) * S::LANES;
            unrolled!(p < P, {
                if p < pixels {
                    let at = first + p * stride;
                    let mut bytes = [S::splat_word(0); V];
                    for v in 0..V {
                        let (channel, at) = (block.first + v * S::LANES, at + v * S::LANES);
                        let sums = S::from_integers(sums[p][v]);
                        bytes[v] = self.epilogue.apply::<S, RESIDUAL, ACTIVATED>(sums, channel, at);
                    }
                    if V == 2 && lanes == S::LANES {
                        S::store_u8_pair(self.y.at(at), bytes[0], bytes[V - 1]);
                    } else {
                        for v in 0..V {
                            let lanes = if v + 1 < V { S::LANES } else { lanes };
                            store_bytes::<S>(self.y.at(at + v * S::LANES), lanes, bytes[v]);
                        }
                    }
                }
            });
        }
    }
}
