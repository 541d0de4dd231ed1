//! Panels: the channels of a register tile, contiguous from pixel to pixel.

use crate::{
    buffer_pool::Scratch,
    element::Element,
    isa::Isa,
    shared_mut::SharedMut,
    simd::{Kernel, Simd},
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// Words in the order
/// `[group][block of channels][pixel of all images, or pairs of images][channel of the block]`. Channels that
/// fill up the last block hold any values.
pub(super) struct Panels {
    words: Scratch,
    pub(super) block: usize,
    /// Blocks of a group.
    blocks: usize,
    pixels: usize,
}

/// Words that may be read beyond the end of panels and patches.
pub(in crate::conv) const PANEL_SLACK: usize = 64;

impl Panels {
    pub(super) fn new<T: Element>(
        isa: Isa,
        batch: usize,
        values: &[T],
        [groups, group]: [usize; 2],
        block: usize,
    ) -> Self {
        let channels = groups * group;
        // In f32 the pixels of all images follow each other: pieces of several where images are small.
        let batch = if T::PER_WORD == 1 { 1 } else { batch };
        let units = batch.div_ceil(T::PER_WORD);
        let image_pixels = values.len() / batch / channels;
        let (pixels, blocks) = (units * image_pixels, group.div_ceil(block));
        let mut words = Scratch::take(groups * blocks * pixels * block + PANEL_SLACK);
        let all = SharedMut::new(words.as_mut_slice());
        // Pieces whose values fit into the first cache of a core.
        let piece = (8192 / channels).max(8);
        let work: Vec<(usize, Range<usize>)> = (0..units)
            .flat_map(|unit| {
                (0..image_pixels).step_by(piece).map(move |at| (unit, at..(at + piece).min(image_pixels)))
            })
            .collect();
        work.into_par_iter().with_min_len(threads::min_len(4)).for_each(|(unit, range)| {
            let image =
                |n: usize| if n < batch { Some(&values[n * image_pixels * channels..]) } else { None };
            let low = image(unit * T::PER_WORD).expect("a unit begins with an image");
            let high = if T::BF16 { image(unit * 2 + 1) } else { None };
            let kernel = PanelKernel {
                low: &low[range.start * channels..],
                high: high.map(|high| &high[range.start * channels..]),
                groups,
                group,
                block,
                pixels: range.len(),
                words: all,
                first: (unit * image_pixels + range.start) * block,
                stride: pixels * block,
            };
            T::copy_panels(isa, kernel);
        });
        Panels { words, block, blocks, pixels }
    }

    /// The first word of a block.
    pub(super) fn at(&self, group: usize, block: usize) -> *const u32 {
        self.words.as_ptr().wrapping_add((group * self.blocks + block) * self.pixels * self.block)
    }
}

/// Copies some pixels into all panels.
pub struct PanelKernel<'a, T> {
    pub(in crate::conv) low: &'a [T],
    /// The second image of a pair.
    pub(in crate::conv) high: Option<&'a [T]>,
    pub(in crate::conv) groups: usize,
    /// Channels of a group, and of a block.
    pub(in crate::conv) group: usize,
    pub(in crate::conv) block: usize,
    pub(in crate::conv) pixels: usize,
    /// No other thread writes these pixels' words.
    pub(in crate::conv) words: SharedMut<u32>,
    /// Where the pixels' words are in the first panel, and the distance to the next.
    pub(in crate::conv) first: usize,
    pub(in crate::conv) stride: usize,
}

impl<T: Element> Kernel for PanelKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let channels = self.groups * self.group;
        let mut to = self.first;
        for group in 0..self.groups {
            for first in (0..self.group).step_by(self.block) {
                let count = self.block.min(self.group - first);
                // SAFETY: the processor has S; panels and pieces of pixels do not overlap.
                unsafe {
                    let words = self.words.slice(to, self.pixels * self.block);
                    self.panel::<S>(group * self.group + first, channels, count, words);
                }
                to += self.stride;
            }
        }
    }
}

impl<T: Element> PanelKernel<'_, T> {
    /// Copies `count` channels of each pixel from `first` on.
    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, first: usize, channels: usize, count: usize, words: &mut [u32]) {
        let reach = count.next_multiple_of(S::LANES);
        let zeros = [T::default(); 16];
        // The pixels of which whole vectors can be read and written.
        let pixels = |len: usize, start: usize, stride: usize| match len.checked_sub(start + reach) {
            Some(left) => left / stride + 1,
            None => 0,
        };
        let shorter = self.high.map_or(self.low.len(), |high| high.len().min(self.low.len()));
        let whole = pixels(shorter, first, channels).min(pixels(words.len(), 0, self.block)).min(self.pixels);
        for pixel in 0..whole {
            for at in (0..reach).step_by(S::LANES) {
                let from = first + pixel * channels + at;
                // SAFETY: the processor has S; there are as many elements and words, by the count above. The excess
                // is overwritten with the next pixel. T is bf16 where it is loaded as bf16.
                unsafe {
                    let low = self.low.as_ptr().add(from);
                    let values = if T::BF16 {
                        let high = match self.high {
                            Some(high) => high.as_ptr().add(from),
                            None => zeros.as_ptr(),
                        };
                        S::load_pairs(low.cast(), high.cast())
                    } else {
                        S::load(low.cast())
                    };
                    S::store(words.as_mut_ptr().add(pixel * self.block + at).cast(), values);
                }
            }
        }
        for pixel in whole..self.pixels {
            for at in 0..count {
                let from = first + pixel * channels + at;
                let (low, high) =
                    (self.low[from].to_f32(), self.high.map_or(0.0, |high| high[from].to_f32()));
                words[pixel * self.block + at] = T::word(|i| if i == 0 { low } else { high });
            }
        }
    }
}
