//! Scaled dot-product attention, forward and backward.
//!
//! Heads of images are computed one by one, so that all of a head stays in the cache of a core: its keys and values
//! are copied once, in the order that [`product`] reads them, and some queries at a time go through scores, softmax
//! and mixture. All of it is f32. The backward pass computes the scores again instead of keeping them.

use crate::{
    Element, Isa, assert_len,
    elementwise::{load, store},
    memory::{Scratch, SharedMut},
    simd::{self, Kernel, Simd, unrolled},
    threads,
};
use rayon::prelude::*;

/// Attention of several heads over the tokens of each image:
/// `y = softmax(query · keyᵀ / sqrt(width)) · value` for each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Images, which do not see each other.
    pub batch: usize,
    /// Tokens of an image; each asks all.
    pub tokens: usize,
    /// Heads, which do not see each other.
    pub heads: usize,
    /// Numbers of a head's query, key or value.
    pub width: usize,
}

impl Attention {
    /// `qkv`: queries, keys and values, `[batch, tokens, 3, heads, width]`; `y`: `[batch, tokens, heads, width]`.
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

    /// The backward pass of [`Attention::forward`]: `qkv` is its input, `dy` the gradient with respect to its output;
    /// `dqkv` is overwritten with the gradient with respect to `qkv`.
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
        let items = (0..self.batch * self.heads).into_par_iter().with_min_len(threads::least(1));
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

    /// The first element of a head, of which a token has so many parts.
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
        tokens * width * 2 + QUERIES * (width * 2 + tokens)
    }

    fn backward_scratch(&self) -> usize {
        let (tokens, width) = (self.padded_tokens(), self.padded_width());
        tokens * width * 5 + QUERIES * (width * 5 + tokens * 2)
    }
}

/// Queries that are computed together, a multiple of the rows of all register tiles.
const QUERIES: usize = 48;

/// What columns are filled up to: panels of every instruction set fill it, two vectors each.
const PADDING: usize = 32;

/// Rows of scratch memory.
#[derive(Clone, Copy)]
struct Rows {
    start: *mut f32,
    /// Distance between rows.
    step: usize,
}

impl Rows {
    fn take(scratch: &mut &mut [f32], rows: usize, step: usize) -> Self {
        let (taken, left) = std::mem::take(scratch).split_at_mut(rows * step);
        *scratch = left;
        Rows { start: taken.as_mut_ptr(), step }
    }

    fn at(self, row: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.step)
    }
}

/// A matrix in panels of two vectors of columns, `[panel][row][column of the panel]`.
#[derive(Clone, Copy)]
struct Panels {
    start: *mut f32,
    rows: usize,
}

impl Panels {
    fn take(scratch: &mut &mut [f32], rows: usize, columns: usize) -> Self {
        Panels { start: Rows::take(scratch, rows, columns).start, rows }
    }

    /// The panel that begins with this column.
    fn at(self, column: usize) -> *mut f32 {
        self.start.wrapping_add(column * self.rows)
    }

    /// Becomes the first `count` rows of a matrix.
    ///
    /// # Safety
    /// The processor has S; there are as many rows, `step` apart, of `width` numbers.
    #[inline(always)]
    unsafe fn copy<S: Simd, T: Element>(self, from: *const T, step: usize, count: usize, width: usize) {
        for first in (0..width).step_by(2 * S::LANES) {
            for row in 0..count {
                for at in (first..width.min(first + 2 * S::LANES)).step_by(S::LANES) {
                    // SAFETY: the caller's promise; the panel has room.
                    unsafe {
                        let values = load::<S, T>(from.add(row * step + at), S::LANES.min(width - at));
                        S::store(self.at(first).add(row * 2 * S::LANES + at - first), values);
                    }
                }
            }
        }
    }

    /// Becomes the matrix whose columns are `columns` rows of another, times a factor.
    ///
    /// # Safety
    /// As [`Panels::copy`]; the panels have `width` rows.
    #[inline(always)]
    unsafe fn transpose<S: Simd, T: Element>(
        self,
        from: *const T,
        step: usize,
        columns: usize,
        width: usize,
        factor: f32,
    ) {
        let panel = 2 * S::LANES;
        for first in (0..columns).step_by(panel) {
            let count = panel.min(columns - first);
            for at in 0..width {
                // SAFETY: the caller's promise; the panel has room.
                let to = unsafe { std::slice::from_raw_parts_mut(self.at(first).add(at * panel), panel) };
                for (column, to) in to.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller's promise.
                    *to = unsafe { *from.add((first + column) * step + at) }.to_f32() * factor;
                }
                to[count..].fill(0.0);
            }
        }
    }
}

impl Rows {
    /// Becomes `count` rows of a matrix.
    ///
    /// # Safety
    /// As [`Panels::copy`].
    #[inline(always)]
    unsafe fn copy<S: Simd, T: Element>(self, from: *const T, step: usize, count: usize, width: usize) {
        for row in 0..count {
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: the caller's promise; rows have room for whole vectors.
                unsafe {
                    let values = load::<S, T>(from.add(row * step + at), S::LANES.min(width - at));
                    S::store(self.at(row).add(at), values);
                }
            }
        }
    }

    /// Stores a row times a factor.
    ///
    /// # Safety
    /// The processor has S; there is room for `width` numbers at `to`.
    #[inline(always)]
    unsafe fn store<S: Simd, T: Element>(self, row: usize, width: usize, factor: f32, to: *mut T) {
        for at in (0..width).step_by(S::LANES) {
            // SAFETY: the caller's promise; rows have whole vectors.
            unsafe {
                let value = S::mul(S::load(self.at(row).add(at)), S::splat(factor));
                store::<S, T>(to.add(at), S::LANES.min(width - at), value);
            }
        }
    }

    /// A row's first `len` numbers become `exp(x − their maximum)`, what fills it up becomes 0. Returns their sum.
    ///
    /// # Safety
    /// The processor has S.
    #[inline(always)]
    unsafe fn exponentials<S: Simd>(self, row: usize, len: usize) -> f32 {
        let row = self.at(row);
        let padded = len.next_multiple_of(S::LANES);
        // SAFETY: the caller's promise; rows have whole vectors.
        unsafe {
            let rest = std::slice::from_raw_parts_mut(row.add(len), padded - len);
            rest.fill(f32::MIN);
            let mut most = S::splat(f32::MIN);
            for at in (0..padded).step_by(S::LANES) {
                most = S::max(most, S::load(row.add(at)));
            }
            let most = S::splat(simd::most_of_lanes::<S>(most));
            let mut sum = S::splat(0.0);
            for at in (0..padded).step_by(S::LANES) {
                // What fills the row up adds next to nothing to a sum of at least 1.
                let power = simd::exp::<S>(S::sub(S::load(row.add(at)), most));
                S::store(row.add(at), power);
                sum = S::add(sum, power);
            }
            rest.fill(0.0);
            simd::sum_of_lanes::<S>(sum)
        }
    }
}

/// The left side of a product: the number in `row` and `column` lies at `start + row · row_step + column · step`.
#[derive(Clone, Copy)]
struct Left {
    start: *const f32,
    row_step: usize,
    step: usize,
}

impl Left {
    fn rows(rows: Rows) -> Self {
        Left { start: rows.start, row_step: rows.step, step: 1 }
    }

    /// The rows of the transposed matrix are columns.
    fn columns(rows: Rows) -> Self {
        Left { start: rows.start, row_step: 1, step: rows.step }
    }
}

/// `to = left · right` (plus `to` if `ADD`): `rows` rows, sums over `depth`, and as many columns as panels have that
/// begin below `columns`.
///
/// # Safety
/// The processor has S; everything has at least these rows, depth, and whole panels of columns.
#[inline(always)]
unsafe fn product<S: Simd, const ADD: bool>(
    [rows, depth, columns]: [usize; 3],
    left: Left,
    right: Panels,
    to: Rows,
) {
    for column in (0..columns).step_by(2 * S::LANES) {
        let mut row = 0;
        while row < rows {
            let left = Left { start: left.start.wrapping_add(row * left.row_step), ..left };
            let to = Rows { start: to.at(row).wrapping_add(column), ..to };
            // SAFETY: the caller's promise.
            unsafe {
                if S::MANY_REGISTERS {
                    tile::<S, ADD, 12>(rows - row, depth, left, right.at(column), to);
                    row += 12;
                } else {
                    tile::<S, ADD, 6>(rows - row, depth, left, right.at(column), to);
                    row += 6;
                }
            }
        }
    }
}

/// `P` rows, or fewer if there are no more, times a panel.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tile<S: Simd, const ADD: bool, const P: usize>(
    rows: usize,
    depth: usize,
    left: Left,
    right: *const f32,
    to: Rows,
) {
    // SAFETY: the caller's promise. Rows that there are not are read from the last one, and not stored.
    unsafe {
        let starts: [*const f32; P] =
            std::array::from_fn(|p| left.start.add(p.min(rows - 1) * left.row_step));
        let mut sums = [[S::splat(0.0); 2]; P];
        for at in 0..depth {
            let panel = right.add(at * 2 * S::LANES);
            let vectors = [S::load(panel), S::load(panel.add(S::LANES))];
            for p in 0..P {
                let factor = S::splat(*starts[p].add(at * left.step));
                for v in 0..2 {
                    sums[p][v] = S::fma(factor, vectors[v], sums[p][v]);
                }
            }
        }
        unrolled!(p < P, {
            if p < rows {
                for v in 0..2 {
                    let to = to.at(p).add(v * S::LANES);
                    let sum = if ADD { S::add(S::load(to), sums[p][v]) } else { sums[p][v] };
                    S::store(to, sum);
                }
            }
        });
    }
}

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
        let queries = Rows::take(&mut scratch, QUERIES, padded_width);
        let scores = Rows::take(&mut scratch, QUERIES, padded_tokens);
        let mixed = Rows::take(&mut scratch, QUERIES, padded_width);
        // SAFETY: the processor has S; a head's queries, keys and values lie `channels` apart, tokens three times as
        // far, and the scratch memory has room for whole panels of all.
        unsafe {
            let step = 3 * channels;
            keys.transpose::<S, T>(self.qkv.add(channels), step, tokens, width, self.attention.scale());
            values.copy::<S, T>(self.qkv.add(2 * channels), step, tokens, width);
            for first in (0..tokens).step_by(QUERIES) {
                let count = QUERIES.min(tokens - first);
                queries.copy::<S, T>(self.qkv.add(first * step), step, count, width);
                product::<S, false>([count, width, tokens], Left::rows(queries), keys, scores);
                let mut factors = [0.0; QUERIES];
                for (row, factor) in factors.iter_mut().enumerate().take(count) {
                    *factor = 1.0 / scores.exponentials::<S>(row, tokens);
                }
                product::<S, false>([count, tokens, width], Left::rows(scores), values, mixed);
                for (row, factor) in factors.into_iter().enumerate().take(count) {
                    mixed.store::<S, T>(row, width, factor, self.y.add((first + row) * channels));
                }
            }
        }
    }
}

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
        let queries = Rows::take(&mut scratch, QUERIES, padded_width);
        let query_panels = Panels::take(&mut scratch, QUERIES, padded_width);
        let dy = Rows::take(&mut scratch, QUERIES, padded_width);
        let dy_panels = Panels::take(&mut scratch, QUERIES, padded_width);
        let dqueries = Rows::take(&mut scratch, QUERIES, padded_width);
        let shares = Rows::take(&mut scratch, QUERIES, padded_tokens);
        let slopes = Rows::take(&mut scratch, QUERIES, padded_tokens);
        // SAFETY: as in the forward pass; gradients lie as what they belong to.
        unsafe {
            let step = 3 * channels;
            let (key, value) = (self.qkv.add(channels), self.qkv.add(2 * channels));
            transposed_keys.transpose::<S, T>(key, step, tokens, width, scale);
            transposed_values.transpose::<S, T>(value, step, tokens, width, 1.0);
            keys.copy::<S, T>(key, step, tokens, width);
            for sums in [dkeys, dvalues] {
                std::slice::from_raw_parts_mut(sums.start, tokens * padded_width).fill(0.0);
            }
            for first in (0..tokens).step_by(QUERIES) {
                let count = QUERIES.min(tokens - first);
                let (query, gradient) = (self.qkv.add(first * step), self.dy.add(first * channels));
                queries.copy::<S, T>(query, step, count, width);
                query_panels.copy::<S, T>(query, step, count, width);
                dy.copy::<S, T>(gradient, channels, count, width);
                dy_panels.copy::<S, T>(gradient, channels, count, width);
                product::<S, false>([count, width, tokens], Left::rows(queries), transposed_keys, shares);
                product::<S, false>([count, width, tokens], Left::rows(dy), transposed_values, slopes);
                for row in 0..count {
                    let factor = S::splat(1.0 / shares.exponentials::<S>(row, tokens));
                    let (shares, slopes) = (shares.at(row), slopes.at(row));
                    let mut sum = S::splat(0.0);
                    for at in (0..tokens).step_by(S::LANES) {
                        let share = S::mul(S::load(shares.add(at)), factor);
                        S::store(shares.add(at), share);
                        sum = S::fma(share, S::load(slopes.add(at)), sum);
                    }
                    let mean = S::splat(simd::sum_of_lanes::<S>(sum));
                    for at in (0..tokens).step_by(S::LANES) {
                        let slope = S::sub(S::load(slopes.add(at)), mean);
                        S::store(slopes.add(at), S::mul(S::load(shares.add(at)), slope));
                    }
                }
                product::<S, true>([tokens, count, width], Left::columns(shares), dy_panels, dvalues);
                product::<S, true>([tokens, count, width], Left::columns(slopes), query_panels, dkeys);
                product::<S, false>([count, tokens, width], Left::rows(slopes), keys, dqueries);
                for row in 0..count {
                    dqueries.store::<S, T>(row, width, scale, self.dqkv.add((first + row) * step));
                }
            }
            for row in 0..tokens {
                let to = self.dqkv.add(row * step);
                dkeys.store::<S, T>(row, width, scale, to.add(channels));
                dvalues.store::<S, T>(row, width, 1.0, to.add(2 * channels));
            }
        }
    }
}
