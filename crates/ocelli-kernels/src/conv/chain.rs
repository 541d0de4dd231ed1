//! Convolutions one after another, as they are used: the maps between them never leave the cache of a core.
//!
//! Each core takes some images, or a band of rows of one, through all of the convolutions. Rows above and below a band
//! that a kernel of several rows reaches into are computed twice.

use super::{Packed, PackedConv2d, forward_geometry, forward_grid};
use crate::{Activation, Buffer, Conv2dShape, Element, assert_len, conv::dense::Epilogue, memory::SharedMut};
use rayon::prelude::*;
use std::ops::Range;

/// One convolution of a chain, and what follows it.
#[derive(Debug)]
pub struct Link<'a, T: Element> {
    /// Weights and bias.
    pub conv: &'a PackedConv2d<T>,
    /// With the output of the link before as its input.
    pub shape: Conv2dShape,
    /// Applied to its output.
    pub activation: Activation,
}

impl<T: Element> Clone for Link<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Element> Copy for Link<'_, T> {}

/// `y` = the links' convolutions one after another, of `x`, plus `x` before the last activation if `residual`. The same
/// bits as by [`PackedConv2d::forward`] one by one.
///
/// `x`: `[batch, in_height, in_width, in_channels]` of the first link; `y`: `[batch, out_height, out_width,
/// out_channels]` of the last.
///
/// # Panics
/// Without links; on shapes that do not follow each other; as [`PackedConv2d::forward`]; and if `residual` and input
/// and output differ in shape.
pub fn conv2d_chain<T: Element>(links: &[Link<'_, T>], x: &[T], residual: bool, y: &mut [T]) {
    let (first, last) = (&links[0].shape, &links[links.len() - 1].shape);
    for link in links {
        link.conv.check_filter(&link.shape);
    }
    for pair in links.windows(2) {
        let (from, to) = (&pair[0].shape, &pair[1].shape);
        let out = [from.batch, from.out_height(), from.out_width(), from.out_channels];
        assert_eq!(
            out,
            [to.batch, to.in_height, to.in_width, to.in_channels],
            "one link's output is the next's input"
        );
    }
    assert_len("x", x, first.input_len());
    assert_len("y", y, last.output_len());
    if residual {
        let shape = [last.out_height(), last.out_width(), last.out_channels];
        assert_eq!(
            shape,
            [first.in_height, first.in_width, first.in_channels],
            "the residual has the output's shape"
        );
    }
    let Some(pieces) = pieces(links) else {
        return one_by_one(links, x, residual, y);
    };
    let y = SharedMut::new(y);
    pieces.into_par_iter().for_each(|piece| {
        // SAFETY: pieces of rows are disjoint.
        let y = unsafe { y.slice(piece.rows.start * last_row(last), piece.rows.len() * last_row(last)) };
        run_piece(links, x, residual, &piece, y);
    });
}

/// Some images, or a band of rows of one image, to be taken through a chain.
struct Piece {
    images: Range<usize>,
    /// Rows of the last output, counted over all images.
    rows: Range<usize>,
}

/// What the maps on both sides of a convolution may take in a core's cache, in bytes.
const CACHED: usize = 768 * 1024;

/// Pixels of an output map from which packed weights are read often enough to be worth reading.
const PIXELS: usize = 196;

/// The work in pieces, if there are enough for all threads: how it is cut does not change the results.
fn pieces<T: Element>(links: &[Link<'_, T>]) -> Option<Vec<Piece>> {
    let last = &links[links.len() - 1].shape;
    let (batch, height) = (last.batch, last.out_height());
    let bytes =
        |shape: &Conv2dShape| (shape.input_len() + shape.output_len()) / shape.batch.max(1) * size_of::<T>();
    let image = links.iter().map(|link| bytes(&link.shape)).max().unwrap_or(0).max(1);
    let threads = rayon::current_num_threads();
    let pieces: Vec<Piece> = if image > CACHED {
        // Even, so that rows are paired as they are in the whole image.
        let bands = image.div_ceil(CACHED);
        let band = height.div_ceil(bands).next_multiple_of(2);
        let piece = |image: usize, row: usize| Piece {
            images: image..image + 1,
            rows: image * height + row..image * height + (row + band).min(height),
        };
        (0..batch).flat_map(|image| (0..height).step_by(band).map(move |row| piece(image, row))).collect()
    } else {
        let wanted = PIXELS.div_ceil(height * last.out_width()).min(CACHED.div_ceil(image));
        let groups = batch.div_ceil(wanted).next_multiple_of(threads);
        let each = batch.div_ceil(groups).max(1);
        (0..batch)
            .step_by(each)
            .map(|start| start..(start + each).min(batch))
            .map(|images| Piece { rows: images.start * height..images.end * height, images })
            .collect()
    };
    (pieces.len() >= threads).then_some(pieces)
}

fn one_by_one<T: Element>(links: &[Link<'_, T>], x: &[T], residual: bool, y: &mut [T]) {
    let mut between: Option<Buffer<T>> = None;
    for (at, link) in links.iter().enumerate() {
        let input = between.as_deref().unwrap_or(x);
        if at + 1 == links.len() {
            return link.conv.forward(&link.shape, input, residual.then_some(x), link.activation, y);
        }
        let mut output = Buffer::take(link.shape.output_len());
        link.conv.forward(&link.shape, input, None, link.activation, &mut output);
        between = Some(output);
    }
}

/// Elements of a row of output.
fn last_row(shape: &Conv2dShape) -> usize {
    shape.out_width() * shape.out_channels
}

fn run_piece<T: Element>(links: &[Link<'_, T>], x: &[T], residual: bool, piece: &Piece, y: &mut [T]) {
    let last = &links[links.len() - 1].shape;
    let height = last.out_height();
    // From the last link to the first: the shapes of the piece, and the rows that each begins with.
    let mut shapes = Vec::with_capacity(links.len());
    let first_row = piece.rows.start - piece.images.start * height;
    let mut rows = first_row..(first_row + piece.rows.len()).min(height);
    for link in links.iter().rev() {
        let (shape, input) = match piece.rows.len() == piece.images.len() * height {
            true => (Conv2dShape { batch: piece.images.len(), ..link.shape }, 0..link.shape.in_height),
            false => band(&link.shape, rows),
        };
        shapes.push(shape);
        rows = input;
    }
    shapes.reverse();
    let first = &links[0].shape;
    let row = first.in_width * first.in_channels;
    let start = (piece.images.start * first.in_height + rows.start) * row;
    let input = &x[start..][..shapes[0].input_len()];
    let added = residual.then(|| {
        let start = piece.rows.start * last_row(last);
        &x[start..][..y.len()]
    });
    let mut between: Option<Buffer<T>> = None;
    for (at, (link, shape)) in links.iter().zip(&shapes).enumerate() {
        let input = between.as_deref().unwrap_or(input);
        if at + 1 == links.len() {
            link.conv.forward_here(shape, input, added, link.activation, y);
            return;
        }
        let mut output = Buffer::take(shape.output_len());
        link.conv.forward_here(shape, input, None, link.activation, &mut output);
        between = Some(output);
    }
}

/// The convolution that computes some rows of one image's output, and the rows of input that it needs.
fn band(shape: &Conv2dShape, rows: Range<usize>) -> (Conv2dShape, Range<usize>) {
    let reach = (shape.kernel[0] - 1) * shape.dilation[0] + 1;
    let top = shape.padding.top;
    let start = (rows.start * shape.stride[0]) as isize - top as isize;
    let end = (rows.end - 1) * shape.stride[0] + reach;
    let mut padding = shape.padding;
    padding.top = (-start).max(0) as usize;
    padding.bottom = end.saturating_sub(top + shape.in_height);
    let input = start.max(0) as usize..end.saturating_sub(top).min(shape.in_height);
    (Conv2dShape { batch: 1, in_height: input.len(), padding, ..*shape }, input)
}

impl<T: Element> PackedConv2d<T> {
    /// [`PackedConv2d::forward`] on this thread alone.
    fn forward_here(
        &self,
        shape: &Conv2dShape,
        x: &[T],
        residual: Option<&[T]>,
        activation: Activation,
        y: &mut [T],
    ) {
        let epilogue = Epilogue { bias: self.bias.as_deref(), residual, activation };
        let geometry = forward_geometry(shape);
        assert_len("x", x, shape.input_len());
        assert_len("y", y, shape.output_len());
        let y = SharedMut::new(y);
        match &self.packed {
            Packed::Dense(packed) => {
                for pixels in packed.pieces::<T>(&geometry, 1) {
                    // SAFETY: there is one thread.
                    unsafe { packed.run_piece(&geometry, x, &epilogue, y, pixels) }
                }
            }
            Packed::Depthwise(packed) => {
                let grid = packed.at(forward_grid(shape).first);
                for image in 0..shape.batch {
                    let rows = image * geometry.grid_height..(image + 1) * geometry.grid_height;
                    // SAFETY: there is one thread.
                    unsafe { packed.run_piece(&geometry, grid, x, &epilogue, y, rows) }
                }
            }
        }
    }
}
