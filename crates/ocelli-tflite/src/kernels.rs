//! Operators on arrays of f64. Where shapes do not fit together there is no result.

use rayon::prelude::*;

/// Values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// How a window moves over maps `[images, height, width, channels]`. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Whether maps are padded so that there are `⌈size / stride⌉` windows, by as much before as after, or by one less.
    pub same: bool,
    pub stride: [usize; 2],
    pub size: [usize; 2],
    pub dilation: [usize; 2],
}

impl Window {
    /// How many windows an axis has, and what it is padded by before.
    fn windows(&self, axis: usize, size: usize) -> Option<[usize; 2]> {
        let (stride, reach) = (self.stride[axis], (self.size[axis] - 1) * self.dilation[axis] + 1);
        if self.same {
            let count = size.div_ceil(stride);
            return Some([count, ((count.max(1) - 1) * stride + reach).saturating_sub(size) / 2]);
        }
        Some([size.checked_sub(reach)? / stride + 1, 0])
    }
}

impl Array {
    pub fn each(&self, of: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|value| of(*value)).collect() }
    }

    /// Of two arrays, of which the second is broadcast: its dimensions are the last ones, each as large or 1.
    pub fn binary(&self, other: &Self, of: fn(f64, f64) -> f64) -> Option<Self> {
        let missing = self.shape.len().checked_sub(other.shape.len())?;
        let mut strides = vec![0; self.shape.len()];
        let mut stride = 1;
        for (axis, &size) in other.shape.iter().enumerate().rev() {
            match size {
                1 => {}
                size if size == self.shape[missing + axis] => strides[missing + axis] = stride,
                _ => return None,
            }
            stride *= size;
        }
        let mut values = Vec::with_capacity(self.values.len());
        let (mut index, mut at) = (vec![0; self.shape.len()], 0);
        for x in &self.values {
            values.push(of(*x, *other.values.get(at)?));
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= strides[axis] * index[axis];
                index[axis] = 0;
            }
        }
        Some(Self { shape: self.shape.clone(), values })
    }

    /// What is before, of and after an axis.
    fn around(&self, axis: usize) -> Option<[usize; 3]> {
        let size = *self.shape.get(axis)?;
        Some([self.shape[..axis].iter().product(), size, self.shape[axis + 1..].iter().product()])
    }
}

/// `[rows, inner] · [inner, columns]`, rows of which are shared among threads.
fn product(x: &[f64], y: &[f64], inner: usize, columns: usize) -> Vec<f64> {
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;
    let rows = x.len() / inner.max(1);
    let mut out = vec![0.0; rows * columns];
    out.par_chunks_mut((ROWS * columns).max(1)).zip(x.par_chunks(ROWS * inner)).for_each(|(out, x)| {
        let rows = x.len() / inner;
        for first in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - first);
            if rows == ROWS && width == COLUMNS {
                let mut sums = [[0.0; COLUMNS]; ROWS];
                for (at, y) in y.chunks_exact(columns).enumerate() {
                    let y = &y[first..first + COLUMNS];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let x = x[row * inner + at];
                        sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    out[row * columns + first..][..COLUMNS].copy_from_slice(sums);
                }
                continue;
            }
            for row in 0..rows {
                let out = &mut out[row * columns + first..][..width];
                for (x, y) in x[row * inner..][..inner].iter().zip(y.chunks_exact(columns)) {
                    out.iter_mut().zip(&y[first..]).for_each(|(sum, y)| *sum += x * y);
                }
            }
        }
    });
    out
}

fn transposed(matrix: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

/// Weights are `[outputs, rows, columns, channels]`, with as many groups as their channels go into those of the maps;
/// of depthwise convolutions `[1, rows, columns, outputs]`.
pub fn conv(x: &Array, weight: &Array, bias: &Array, window: Window, is_depthwise: bool) -> Option<Array> {
    let &[images, height, width, channels] = &x.shape[..] else { return None };
    let &[first, rows, columns, last] = &weight.shape[..] else { return None };
    let (outputs, inputs) = if is_depthwise { (last, 1) } else { (first, last) };
    let groups = if is_depthwise { channels } else { channels.checked_div(inputs)? };
    (groups > 0 && inputs * groups == channels && outputs % groups == 0 && bias.values.len() == outputs)
        .then_some(())?;
    let [out_height, top] = window.windows(0, height)?;
    let [out_width, left] = window.windows(1, width)?;
    let (in_group, area) = (outputs / groups, rows * columns);
    let inner = area * inputs;
    let mut y = vec![0.0; images * out_height * out_width * outputs];
    for group in 0..groups {
        // `[rows, columns, inputs, outputs]` of the group.
        let mut matrix = vec![0.0; inner * in_group];
        for (at, value) in matrix.iter_mut().enumerate() {
            let (point, output) = (at / in_group, group * in_group + at % in_group);
            *value =
                weight.values[if is_depthwise { point * outputs + output } else { output * inner + point }];
        }
        let patches: Vec<f64> = (0..images * out_height)
            .into_par_iter()
            .flat_map_iter(|line| {
                let (image, row) = (line / out_height, line % out_height);
                let mut patches = vec![0.0; out_width * inner];
                for (at, patch) in patches.chunks_exact_mut(inputs).enumerate() {
                    let (column, point) = (at / area, at % area);
                    let from = row * window.stride[0] + point / columns * window.dilation[0];
                    let from_column = column * window.stride[1] + point % columns * window.dilation[1];
                    let (from, from_column) = (from.wrapping_sub(top), from_column.wrapping_sub(left));
                    if from < height && from_column < width {
                        let pixel = (image * height + from) * width + from_column;
                        patch.copy_from_slice(&x.values[pixel * channels + group * inputs..][..inputs]);
                    }
                }
                patches
            })
            .collect();
        let products = product(&patches, &matrix, inner, in_group);
        for (pixel, products) in products.chunks_exact(in_group).enumerate() {
            let range = group * in_group..(group + 1) * in_group;
            let sums = products.iter().zip(&bias.values[range.clone()]).map(|(sum, bias)| sum + bias);
            y[pixel * outputs..][range].iter_mut().zip(sums).for_each(|(y, sum)| *y = sum);
        }
    }
    Some(Array { shape: vec![images, out_height, out_width, outputs], values: y })
}

/// `of` is given what is inside the map.
pub fn pool(x: &Array, window: Window, of: fn(&[f64]) -> f64) -> Option<Array> {
    let &[images, height, width, channels] = &x.shape[..] else { return None };
    let [out_height, top] = window.windows(0, height)?;
    let [out_width, left] = window.windows(1, width)?;
    let mut y = Vec::with_capacity(images * out_height * out_width * channels);
    let inside = |at: usize, axis: usize, before: usize, size: usize| {
        let first = at * window.stride[axis];
        first.saturating_sub(before)
            ..(first + window.size[axis] - before.min(first + window.size[axis])).min(size)
    };
    let mut found = Vec::new();
    for at in 0..images * out_height * out_width {
        let (image, row, column) = (at / out_width / out_height, at / out_width % out_height, at % out_width);
        for channel in 0..channels {
            found.clear();
            for row in inside(row, 0, top, height) {
                let pixels =
                    inside(column, 1, left, width).map(|column| (image * height + row) * width + column);
                found.extend(pixels.map(|pixel| x.values[pixel * channels + channel]));
            }
            y.push(of(&found));
        }
    }
    Some(Array { shape: vec![images, out_height, out_width, channels], values: y })
}

/// Over the last dimension; the weight is `[outputs, inputs]`.
pub fn fully_connected(x: &Array, weight: &Array, bias: Option<&Array>) -> Option<Array> {
    let &[outputs, inputs] = &weight.shape[..] else { return None };
    (x.shape.last() == Some(&inputs) && bias.is_none_or(|bias| bias.values.len() == outputs)).then_some(())?;
    let mut y = product(&x.values, &transposed(&weight.values, inputs), inputs, outputs);
    if let Some(bias) = bias {
        for row in y.chunks_exact_mut(outputs) {
            row.iter_mut().zip(&bias.values).for_each(|(y, bias)| *y += bias);
        }
    }
    let mut shape = x.shape.clone();
    *shape.last_mut()? = outputs;
    Some(Array { shape, values: y })
}

/// Products of the last two dimensions.
pub fn batch_matmul(x: &Array, y: &Array, transposed_y: bool) -> Option<Array> {
    let (batches, [rows, inner]) = x.shape.split_last_chunk()?;
    let (of_y, &[above, below]) = y.shape.split_last_chunk()?;
    let columns = if transposed_y { above } else { below };
    (batches == of_y && *inner == if transposed_y { below } else { above }).then_some(())?;
    let pairs = x.values.chunks_exact(rows * inner).zip(y.values.chunks_exact(above * below));
    let values = pairs.flat_map(|(x, y)| {
        let y = if transposed_y { transposed(y, below) } else { y.to_vec() };
        product(x, &y, *inner, columns)
    });
    let shape = batches.iter().copied().chain([*rows, columns]).collect();
    Some(Array { shape, values: values.collect() })
}

/// Over the last dimension.
pub fn softmax(x: &Array, beta: f64) -> Array {
    let mut values = x.values.clone();
    for row in values.chunks_exact_mut(x.shape.last().copied().unwrap_or(1).max(1)) {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|value| *value = (beta * (*value - most)).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|value| *value /= sum);
    }
    Array { shape: x.shape.clone(), values }
}

/// `of` is given the values that become one.
pub fn reduce(x: &Array, axes: &[i64], keep: bool, of: fn(&[f64]) -> f64) -> Option<Array> {
    let axes: Vec<usize> = axes.iter().map(|axis| usize::try_from(*axis).ok()).collect::<Option<_>>()?;
    let others: Vec<usize> = (0..x.shape.len()).filter(|axis| !axes.contains(axis)).collect();
    let order: Vec<i64> = others.iter().chain(&axes).map(|axis| *axis as i64).collect();
    let sorted = transpose(x, &order)?;
    let together: usize = axes.iter().map(|&axis| x.shape[axis]).product();
    let values = sorted.values.chunks_exact(together.max(1)).map(of).collect();
    let shape = x.shape.iter().enumerate();
    let shape = match keep {
        true => shape.map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect(),
        false => others.iter().map(|&axis| x.shape[axis]).collect(),
    };
    Some(Array { shape, values })
}

/// One size may be −1: what is left.
pub fn reshape(x: &Array, sizes: &[i64]) -> Option<Array> {
    let known: i64 = sizes.iter().filter(|size| **size >= 0).product();
    let length = x.values.len() as i64;
    let of = |size: &i64| usize::try_from(if *size < 0 { length / known.max(1) } else { *size }).ok();
    let shape: Vec<usize> = sizes.iter().map(of).collect::<Option<_>>()?;
    (shape.iter().product::<usize>() == x.values.len()).then_some(())?;
    Some(Array { shape, values: x.values.clone() })
}

pub fn transpose(x: &Array, order: &[i64]) -> Option<Array> {
    let order: Vec<usize> = order.iter().map(|axis| usize::try_from(*axis).ok()).collect::<Option<_>>()?;
    let mut seen = order.clone();
    seen.sort_unstable();
    seen.into_iter().eq(0..x.shape.len()).then_some(())?;
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
    let strides: Vec<usize> = order.iter().map(|&axis| x.shape[axis + 1..].iter().product()).collect();
    let values = places(&shape).map(|index| {
        let at: usize = index.iter().zip(&strides).map(|(index, stride)| index * stride).sum();
        x.values[at]
    });
    let values = values.collect();
    Some(Array { shape, values })
}

/// All indices of a shape, in order.
fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let (shape, length) = (shape.to_vec(), shape.iter().product::<usize>());
    (0..length).map(move |mut at| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = at % shape[axis];
            at /= shape[axis];
        }
        index
    })
}

/// Pairs say what comes before and after each axis.
pub fn pad(x: &Array, more: &[i64], value: f64) -> Option<Array> {
    let more: Vec<usize> = more.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
    (more.len() == 2 * x.shape.len()).then_some(())?;
    let shape: Vec<usize> =
        x.shape.iter().zip(more.chunks_exact(2)).map(|(size, more)| size + more[0] + more[1]).collect();
    let values = places(&shape).map(|index| {
        let mut at = 0;
        for (axis, index) in index.iter().enumerate() {
            let index = index.wrapping_sub(more[2 * axis]);
            if index >= x.shape[axis] {
                return value;
            }
            at = at * x.shape[axis] + index;
        }
        x.values[at]
    });
    let values = values.collect();
    Some(Array { shape, values })
}

/// Of each axis what begins there; −1 is all that follows.
pub fn slice(x: &Array, begin: &[i64], sizes: &[i64]) -> Option<Array> {
    (begin.len() == x.shape.len() && sizes.len() == x.shape.len()).then_some(())?;
    let begin: Vec<usize> = begin.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
    let mut shape = Vec::new();
    for ((size, &begin), &whole) in sizes.iter().zip(&begin).zip(&x.shape) {
        let size = usize::try_from(*size).unwrap_or(whole.checked_sub(begin)?);
        (begin + size <= whole).then_some(())?;
        shape.push(size);
    }
    let values = places(&shape).map(|index| {
        let at = index.iter().zip(&begin).zip(&x.shape);
        x.values[at.fold(0, |at, ((index, begin), size)| at * size + index + begin)]
    });
    let values = values.collect();
    Some(Array { shape, values })
}

pub fn concat(parts: &[&Array], axis: i32) -> Option<Array> {
    let axis = usize::try_from(axis).ok()?;
    let mut shape = parts.first()?.shape.clone();
    let around: Vec<[usize; 3]> = parts.iter().map(|part| part.around(axis)).collect::<Option<_>>()?;
    let alike = around.iter().all(|[before, _, after]| [*before, *after] == [around[0][0], around[0][2]]);
    alike.then_some(())?;
    let mut values = Vec::new();
    for row in 0..around[0][0] {
        for (part, [_, size, after]) in parts.iter().zip(&around) {
            values.extend(&part.values[row * size * after..][..size * after]);
        }
    }
    shape[axis] = around.iter().map(|[_, size, _]| size).sum();
    Some(Array { shape, values })
}

pub fn split(x: &Array, axis: &[i64], parts: i32) -> Option<Vec<Array>> {
    let axis = usize::try_from(*axis.first()?).ok()?;
    let parts = usize::try_from(parts).ok().filter(|parts| *parts > 0)?;
    let [_, size, _] = x.around(axis)?;
    (size % parts == 0).then_some(())?;
    let mut sizes: Vec<i64> = x.shape.iter().map(|size| *size as i64).collect();
    sizes[axis] = (size / parts) as i64;
    let mut begin = vec![0; x.shape.len()];
    (0..parts)
        .map(|part| {
            begin[axis] = part as i64 * sizes[axis];
            slice(x, &begin, &sizes)
        })
        .collect()
}
