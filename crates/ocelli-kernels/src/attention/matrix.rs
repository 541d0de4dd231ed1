//! Matrices in scratch memory, and their product.

use crate::{
    element::{Element, load, store},
    simd::{self, Simd, unrolled},
};

/// Rows are padded to a multiple of this: panels of every instruction set, two vectors each, divide it.
pub(super) const PADDING: usize = 32;

/// Rows of scratch memory.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) start: *mut f32,
    /// Distance between rows.
    stride: usize,
}

impl Rows {
    pub(super) fn take(scratch: &mut &mut [f32], rows: usize, stride: usize) -> Self {
        let (taken, left) = std::mem::take(scratch).split_at_mut(rows * stride);
        *scratch = left;
        Rows { start: taken.as_mut_ptr(), stride }
    }

    pub(super) fn at(self, row: usize) -> *mut f32 {
        self.start.wrapping_add(row * self.stride)
    }
}

/// A matrix in panels of two vectors of columns, `[panel][row][column of the panel]`.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    start: *mut f32,
    rows: usize,
}

impl Panels {
    pub(super) fn take(scratch: &mut &mut [f32], rows: usize, columns: usize) -> Self {
        Panels { start: Rows::take(scratch, rows, columns).start, rows }
    }

    /// The panel that begins with this column.
    pub(super) fn at(self, column: usize) -> *mut f32 {
        self.start.wrapping_add(column * self.rows)
    }

    /// Becomes the first `count` rows of a matrix.
    ///
    /// # Safety
    /// The processor has S; there are as many rows, `stride` apart, of `width` elements.
    #[inline(always)]
    pub(super) unsafe fn copy<S: Simd, T: Element>(
        self,
        from: *const T,
        stride: usize,
        count: usize,
        width: usize,
    ) {
        for first in (0..width).step_by(2 * S::LANES) {
            for row in 0..count {
                for at in (first..width.min(first + 2 * S::LANES)).step_by(S::LANES) {
                    // SAFETY: the caller's promise; the panel has room.
                    unsafe {
                        let values = load::<S, T>(from.add(row * stride + at), S::LANES.min(width - at));
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
    pub(super) unsafe fn transpose<S: Simd, T: Element>(
        self,
        from: *const T,
        stride: usize,
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
                    *to = unsafe { *from.add((first + column) * stride + at) }.to_f32() * factor;
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
    pub(super) unsafe fn copy<S: Simd, T: Element>(
        self,
        from: *const T,
        stride: usize,
        count: usize,
        width: usize,
    ) {
        for row in 0..count {
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: the caller's promise; rows have room for whole vectors.
                unsafe {
                    let values = load::<S, T>(from.add(row * stride + at), S::LANES.min(width - at));
                    S::store(self.at(row).add(at), values);
                }
            }
        }
    }

    /// Stores a row times a factor.
    ///
    /// # Safety
    /// The processor has S; there is room for `width` elements at `to`.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, T: Element>(self, row: usize, width: usize, factor: f32, to: *mut T) {
        for at in (0..width).step_by(S::LANES) {
            // SAFETY: the caller's promise; rows have whole vectors.
            unsafe {
                let value = S::mul(S::load(self.at(row).add(at)), S::splat(factor));
                store::<S, T>(to.add(at), S::LANES.min(width - at), value);
            }
        }
    }

    /// A row's first `len` elements become `exp(x − their maximum)`, its padding becomes 0. Returns their
    /// sum.
    ///
    /// # Safety
    /// The processor has S.
    #[inline(always)]
    pub(super) unsafe fn exponentials<S: Simd>(self, row: usize, len: usize) -> f32 {
        let row = self.at(row);
        let padded = len.next_multiple_of(S::LANES);
        // SAFETY: the caller's promise; rows have whole vectors.
        unsafe {
            let rest = std::slice::from_raw_parts_mut(row.add(len), padded - len);
            rest.fill(f32::MIN);
            let mut max = S::splat(f32::MIN);
            for at in (0..padded).step_by(S::LANES) {
                max = S::max(max, S::load(row.add(at)));
            }
            let max = S::splat(simd::max_of_lanes::<S>(max));
            let mut sum = S::splat(0.0);
            for at in (0..padded).step_by(S::LANES) {
                // Padding adds next to nothing to a sum of at least 1.
                let power = simd::exp::<S>(S::sub(S::load(row.add(at)), max));
                S::store(row.add(at), power);
                sum = S::add(sum, power);
            }
            rest.fill(0.0);
            simd::sum_of_lanes::<S>(sum)
        }
    }
}

/// The left side of a product. The element in `row` and `column` is at
/// `start + row · row_stride + column · stride`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    start: *const f32,
    row_stride: usize,
    stride: usize,
}

impl Left {
    pub(super) fn rows(rows: Rows) -> Self {
        Left { start: rows.start, row_stride: rows.stride, stride: 1 }
    }

    /// The rows of the transposed matrix are columns.
    pub(super) fn columns(rows: Rows) -> Self {
        Left { start: rows.start, row_stride: 1, stride: rows.stride }
    }
}

/// `to = left · right` (plus `to` if `ADD`): `rows` rows, sums over `depth`, and as many columns as panels
/// have that begin below `columns`.
///
/// # Safety
/// The processor has S; everything has at least these rows, depth, and whole panels of columns.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const ADD: bool>(
    [rows, depth, columns]: [usize; 3],
    left: Left,
    right: Panels,
    to: Rows,
) {
    for column in (0..columns).step_by(2 * S::LANES) {
        let mut row = 0;
        while row < rows {
            let left = Left { start: left.start.wrapping_add(row * left.row_stride), ..left };
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

/// `P` rows, or the fewer that there are, times a panel.
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
    // SAFETY: the caller's promise. Missing rows are read from the last one, and not stored.
    unsafe {
        let starts: [*const f32; P] =
            std::array::from_fn(|p| left.start.add(p.min(rows - 1) * left.row_stride));
        let mut sums = [[S::splat(0.0); 2]; P];
        for at in 0..depth {
            let panel = right.add(at * 2 * S::LANES);
            let vectors = [S::load(panel), S::load(panel.add(S::LANES))];
            for p in 0..P {
                let factor = S::splat(*starts[p].add(at * left.stride));
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
