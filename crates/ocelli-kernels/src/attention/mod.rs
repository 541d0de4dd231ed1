//! Scaled dot-product attention, forward and backward.
//!
//! Heads of images are computed one at a time, so that all of a head stays in the cache of a core: its keys
//! and values are copied once, in the order in which [`product`] reads them, and some queries at a time go
//! through scores, softmax and weighted sums. All of it is f32. The backward pass computes the scores again
//! instead of keeping them.

mod matrix;

use crate::{
    buffer_pool::Scratch,
    element::Element,
    isa::Isa,
    shape::assert_len,
    shared_mut::SharedMut,
    simd::{self, Kernel, Simd},
    threads,
};
use matrix::{Left, PADDING, Panels, Rows, product};
use rayon::prelude::*;

/// Attention of several heads over the tokens of each image:
/// `y = softmax(query · keyᵀ / sqrt(width)) · value` for each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Images; attention is within each.
    pub batch: usize,
    /// Tokens of an image; each attends to all.
    pub tokens: usize,
    /// Heads; attention is within each.
    pub heads: usize,
    /// Elements of a head's query, key or value.
    pub width: usize,
}

impl Attention {
    /// `qkv`: queries, keys and values, `[batch, tokens, 3, heads, width]`; `y`:
    /// `[batch, tokens, heads, width]`.
    ///
    /// # Panics
    /// If `tokens`, `heads` or `width` is 0, or on slices of other lengths.
    pub fn forward<T: Element>(&self, qkv: &[T], y: &mut [T]) {
        self.check(qkv);
        assert_len("y", y, qkv.len() / 3);
        let y = SharedMut::new(y);
        self.for_each_head(self.forward_scratch(), |image, head, scratch| {
            let kernel = ForwardKernel {
                attention: self,
                qkv: qkv[self.first(image, head, 3)..].as_ptr(),
                y: y.at(self.first(image, head, 1)),
                scratch,
            };
            T::attention_forward(Isa::current(), kernel);
        });
    }

    /// The backward pass of [`Attention::forward`]: `qkv` is its input, `dy` the gradient with respect to its
    /// output; `dqkv` is overwritten with the gradient with respect to `qkv`.
    ///
    /// # Panics
    /// As [`Attention::forward`].
    pub fn backward<T: Element>(&self, qkv: &[T], dy: &[T], dqkv: &mut [T]) {
        self.check(qkv);
        assert_len("dy", dy, qkv.len() / 3);
        assert_len("dqkv", dqkv, qkv.len());
        let dqkv = SharedMut::new(dqkv);
        self.for_each_head(self.backward_scratch(), |image, head, scratch| {
            let kernel = BackwardKernel {
                attention: self,
                qkv: qkv[self.first(image, head, 3)..].as_ptr(),
                dy: dy[self.first(image, head, 1)..].as_ptr(),
                dqkv: dqkv.at(self.first(image, head, 3)),
                scratch,
            };
            T::attention_backward(Isa::current(), kernel);
        });
    }

    #[track_caller]
    fn check<T>(&self, qkv: &[T]) {
        let Attention { batch, tokens, heads, width } = *self;
        assert!(tokens > 0 && heads > 0 && width > 0, "{self:?}");
        assert_len("qkv", qkv, batch * tokens * 3 * heads * width);
    }

    fn for_each_head(&self, scratch: usize, work: impl Fn(usize, usize, &mut [f32]) + Sync) {
        let items = (0..self.batch * self.heads).into_par_iter().with_min_len(threads::min_len(1));
        items.for_each_init(
            || Scratch::take(scratch),
            |scratch, at| {
                let words = scratch.as_mut_slice();
                // SAFETY: every pattern of bits is an f32.
                let floats =
                    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), words.len()) };
                work(at / self.heads, at % self.heads, floats);
            },
        );
    }

    /// The index of a head's first element where each token has `parts` elements for each of the head's.
    fn first(&self, image: usize, head: usize, parts: usize) -> usize {
        (image * self.tokens * parts * self.heads + head) * self.width
    }

    /// Distance between two tokens, or from queries to keys and from keys to values.
    fn channels(&self) -> usize {
        self.heads * self.width
    }

    fn padded_tokens(&self) -> usize {
        self.tokens.next_multiple_of(PADDING)
    }

    fn padded_width(&self) -> usize {
        self.width.next_multiple_of(PADDING)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    fn forward_scratch(&self) -> usize {
        let (tokens, width) = (self.padded_tokens(), self.padded_width());
        tokens * width * 2 + MAX_QUERIES * (width * 2 + tokens)
    }

    fn backward_scratch(&self) -> usize {
        let (tokens, width) = (self.padded_tokens(), self.padded_width());
        tokens * width * 5 + MAX_QUERIES * (width * 5 + tokens * 2)
    }
}

/// Queries that are computed together at most: a multiple of the rows of all register tiles.
const MAX_QUERIES: usize = 48;

/// One head of one image.
pub struct ForwardKernel<'a, T> {
    attention: &'a Attention,
    /// The head's first query.
    qkv: *const T,
    y: *mut T,
    scratch: &'a mut [f32],
}

impl<T: Element> Kernel for ForwardKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Attention { tokens, width, .. } = *self.attention;
        let (padded_tokens, padded_width) = (self.attention.padded_tokens(), self.attention.padded_width());
        let channels = self.attention.channels();
        let mut scratch = self.scratch;
        let keys = Panels::take(&mut scratch, width, padded_tokens);
        let values = Panels::take(&mut scratch, tokens, padded_width);
        let queries = Rows::take(&mut scratch, MAX_QUERIES, padded_width);
        let scores = Rows::take(&mut scratch, MAX_QUERIES, padded_tokens);
        let outputs = Rows::take(&mut scratch, MAX_QUERIES, padded_width);
        // SAFETY: the processor has S; a head's queries, keys and values lie `channels` apart, tokens three times as
        // far, and the scratch memory has room for whole panels of all.
        unsafe {
            let stride = 3 * channels;
            keys.transpose::<S, T>(self.qkv.add(channels), stride, tokens, width, self.attention.scale());
            values.copy::<S, T>(self.qkv.add(2 * channels), stride, tokens, width);
            for first in (0..tokens).step_by(MAX_QUERIES) {
                let count = MAX_QUERIES.min(tokens - first);
                queries.copy::<S, T>(self.qkv.add(first * stride), stride, count, width);
                product::<S, false>([count, width, tokens], Left::rows(queries), keys, scores);
                let mut factors = [0.0; MAX_QUERIES];
                for (row, factor) in factors.iter_mut().enumerate().take(count) {
                    *factor = 1.0 / scores.exponentials::<S>(row, tokens);
                }
                product::<S, false>([count, tokens, width], Left::rows(scores), values, outputs);
                for (row, factor) in factors.into_iter().enumerate().take(count) {
                    outputs.store::<S, T>(row, width, factor, self.y.add((first + row) * channels));
                }
            }
        }
    }
}

/// The backward pass of one head of one image.
pub struct BackwardKernel<'a, T> {
    attention: &'a Attention,
    /// The head's first query, and the gradients with respect to its first output and query.
    qkv: *const T,
    dy: *const T,
    dqkv: *mut T,
    scratch: &'a mut [f32],
}

impl<T: Element> Kernel for BackwardKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Attention { tokens, width, .. } = *self.attention;
        let (padded_tokens, padded_width) = (self.attention.padded_tokens(), self.attention.padded_width());
        let (channels, scale) = (self.attention.channels(), self.attention.scale());
        let mut scratch = self.scratch;
        let transposed_keys = Panels::take(&mut scratch, width, padded_tokens);
        let transposed_values = Panels::take(&mut scratch, width, padded_tokens);
        let keys = Panels::take(&mut scratch, tokens, padded_width);
        let dkeys = Rows::take(&mut scratch, tokens, padded_width);
        let dvalues = Rows::take(&mut scratch, tokens, padded_width);
        let queries = Rows::take(&mut scratch, MAX_QUERIES, padded_width);
        let query_panels = Panels::take(&mut scratch, MAX_QUERIES, padded_width);
        let dy = Rows::take(&mut scratch, MAX_QUERIES, padded_width);
        let dy_panels = Panels::take(&mut scratch, MAX_QUERIES, padded_width);
        let dqueries = Rows::take(&mut scratch, MAX_QUERIES, padded_width);
        let weights = Rows::take(&mut scratch, MAX_QUERIES, padded_tokens);
        let dscores = Rows::take(&mut scratch, MAX_QUERIES, padded_tokens);
        // SAFETY: as in the forward pass; gradients have the layout of what they belong to.
        unsafe {
            let stride = 3 * channels;
            let (key, value) = (self.qkv.add(channels), self.qkv.add(2 * channels));
            transposed_keys.transpose::<S, T>(key, stride, tokens, width, scale);
            transposed_values.transpose::<S, T>(value, stride, tokens, width, 1.0);
            keys.copy::<S, T>(key, stride, tokens, width);
            for sums in [dkeys, dvalues] {
                std::slice::from_raw_parts_mut(sums.start, tokens * padded_width).fill(0.0);
            }
            for first in (0..tokens).step_by(MAX_QUERIES) {
                let count = MAX_QUERIES.min(tokens - first);
                let (query, gradient) = (self.qkv.add(first * stride), self.dy.add(first * channels));
                queries.copy::<S, T>(query, stride, count, width);
                query_panels.copy::<S, T>(query, stride, count, width);
                dy.copy::<S, T>(gradient, channels, count, width);
                dy_panels.copy::<S, T>(gradient, channels, count, width);
                product::<S, false>([count, width, tokens], Left::rows(queries), transposed_keys, weights);
                product::<S, false>([count, width, tokens], Left::rows(dy), transposed_values, dscores);
                for row in 0..count {
                    softmax_backward::<S>(row, tokens, weights, dscores);
                }
                product::<S, true>([tokens, count, width], Left::columns(weights), dy_panels, dvalues);
                product::<S, true>([tokens, count, width], Left::columns(dscores), query_panels, dkeys);
                product::<S, false>([count, tokens, width], Left::rows(dscores), keys, dqueries);
                for row in 0..count {
                    dqueries.store::<S, T>(row, width, scale, self.dqkv.add((first + row) * stride));
                }
            }
            for row in 0..tokens {
                let to = self.dqkv.add(row * stride);
                dkeys.store::<S, T>(row, width, scale, to.add(channels));
                dvalues.store::<S, T>(row, width, 1.0, to.add(2 * channels));
            }
        }
    }
}

/// A row of scores becomes the attention weights, and the row of gradients with respect to those becomes the
/// gradients with respect to the scores.
///
/// # Safety
/// The processor has S; the rows have whole vectors of `tokens` elements.
#[inline(always)]
unsafe fn softmax_backward<S: Simd>(row: usize, tokens: usize, scores: Rows, gradients: Rows) {
    // SAFETY: the caller's promise.
    unsafe {
        let factor = S::splat(1.0 / scores.exponentials::<S>(row, tokens));
        let (weights, gradients) = (scores.at(row), gradients.at(row));
        let mut sum = S::splat(0.0);
        for at in (0..tokens).step_by(S::LANES) {
            let weight = S::mul(S::load(weights.add(at)), factor);
            S::store(weights.add(at), weight);
            sum = S::fma(weight, S::load(gradients.add(at)), sum);
        }
        let mean = S::splat(simd::sum_of_lanes::<S>(sum));
        for at in (0..tokens).step_by(S::LANES) {
            let centred = S::sub(S::load(gradients.add(at)), mean);
            S::store(gradients.add(at), S::mul(S::load(weights.add(at)), centred));
        }
    }
}
