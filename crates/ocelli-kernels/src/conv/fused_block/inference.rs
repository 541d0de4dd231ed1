//! The forward pass that keeps nothing but the output.

use super::{CACHE_BYTES, FusedStage, check, image_bytes, split_images};
use crate::{
    buffer_pool::Buffer,
    element::Element,
    shape::{Conv2dShape, assert_len},
    shared_mut::SharedMut,
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// `y` = the stages' convolutions of `x`, one after another, plus `x` before the last activation if
/// `residual`. The results have the same bits as by [`PackedConv2d::forward`](crate::PackedConv2d::forward)
/// one by one.
///
/// `x`: `[batch, in_height, in_width, in_channels]` of the first stage; `y`: `[batch, out_height, out_width,
/// out_channels]` of the last.
///
/// # Panics
/// Without stages; if one stage's output has another shape than the next's input; as
/// [`PackedConv2d::forward`](crate::PackedConv2d::forward); and if `residual` and input and output differ in
/// shape.
pub fn fused_block<T: Element>(stages: &[FusedStage<'_, T>], x: &[T], residual: bool, y: &mut [T]) {
    let last = &stages[stages.len() - 1].shape;
    check(stages, residual);
    assert_len("x", x, stages[0].shape.input_len());
    assert_len("y", y, last.output_len());
    let Some(pieces) = pieces(stages) else {
        let shapes: Vec<Conv2dShape> = stages.iter().map(|stage| stage.shape).collect();
        return run_stages(stages, &shapes, x, residual.then_some(x), y);
    };
    let y = SharedMut::new(y);
    pieces.into_par_iter().for_each(|piece| {
        // SAFETY: pieces of rows are disjoint.
        let y = unsafe {
            y.slice(piece.rows.start * output_row_len(last), piece.rows.len() * output_row_len(last))
        };
        threads::single_threaded(|| run_piece(stages, x, residual, &piece, y));
    });
}

/// Some images, or a band of rows of one image, to be taken through all stages.
struct Piece {
    images: Range<usize>,
    /// Rows of the last output, counted over all images.
    rows: Range<usize>,
}

/// Fewest output pixels of a piece of whole images: with fewer, packed weights would be read too often.
const MIN_PIXELS: usize = 196;

/// The work in pieces, if there are enough for all threads: how it is divided does not change the results.
fn pieces<T: Element>(stages: &[FusedStage<'_, T>]) -> Option<Vec<Piece>> {
    // A band's tiles would begin elsewhere than the image's, and sum in another order.
    if stages.iter().any(|stage| stage.conv.has_tiles()) {
        return None;
    }
    let last = &stages[stages.len() - 1].shape;
    let (batch, height) = (last.batch, last.out_height());
    let image = image_bytes::<T>(stages.iter().map(|stage| &stage.shape));
    let threads = rayon::current_num_threads();
    let pieces: Vec<Piece> = if image > CACHE_BYTES {
        // Even, so that rows are paired as they are in the whole image.
        let bands = image.div_ceil(CACHE_BYTES);
        let band = height.div_ceil(bands).next_multiple_of(2);
        let piece = |image: usize, row: usize| Piece {
            images: image..image + 1,
            rows: image * height + row..image * height + (row + band).min(height),
        };
        (0..batch).flat_map(|image| (0..height).step_by(band).map(move |row| piece(image, row))).collect()
    } else {
        let images = MIN_PIXELS.div_ceil(height * last.out_width()).min(CACHE_BYTES.div_ceil(image));
        let groups = batch.div_ceil(images).next_multiple_of(threads);
        split_images(0..batch, batch.div_ceil(groups))
            .map(|images| Piece { rows: images.start * height..images.end * height, images })
            .collect()
    };
    (pieces.len() >= threads).then_some(pieces)
}

/// Runs the stages one by one, with these shapes; `added`: what is added before the last activation.
fn run_stages<T: Element>(
    stages: &[FusedStage<'_, T>],
    shapes: &[Conv2dShape],
    x: &[T],
    added: Option<&[T]>,
    y: &mut [T],
) {
    let mut map: Option<Buffer<T>> = None;
    for (at, (stage, shape)) in stages.iter().zip(shapes).enumerate() {
        let input = map.as_deref().unwrap_or(x);
        if at + 1 == stages.len() {
            return stage.conv.forward(shape, input, added, stage.activation, y);
        }
        let mut output = Buffer::take(shape.output_len());
        stage.conv.forward(shape, input, None, stage.activation, &mut output);
        map = Some(output);
    }
}

/// Elements of a row of output.
fn output_row_len(shape: &Conv2dShape) -> usize {
    shape.out_width() * shape.out_channels
}

fn run_piece<T: Element>(stages: &[FusedStage<'_, T>], x: &[T], residual: bool, piece: &Piece, y: &mut [T]) {
    let last = &stages[stages.len() - 1].shape;
    let height = last.out_height();
    // From the last stage to the first: the shapes of the piece, and the rows of input of each.
    let mut shapes = Vec::with_capacity(stages.len());
    let first_row = piece.rows.start - piece.images.start * height;
    let mut rows = first_row..(first_row + piece.rows.len()).min(height);
    for stage in stages.iter().rev() {
        let (shape, input) = match piece.rows.len() == piece.images.len() * height {
            true => (Conv2dShape { batch: piece.images.len(), ..stage.shape }, 0..stage.shape.in_height),
            false => band(&stage.shape, rows),
        };
        shapes.push(shape);
        rows = input;
    }
    shapes.reverse();
    let first = &stages[0].shape;
    let row = first.in_width * first.in_channels;
    let start = (piece.images.start * first.in_height + rows.start) * row;
    let input = &x[start..][..shapes[0].input_len()];
    let added = residual.then(|| {
        let start = piece.rows.start * output_row_len(last);
        &x[start..][..y.len()]
    });
    run_stages(stages, &shapes, input, added, y);
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
