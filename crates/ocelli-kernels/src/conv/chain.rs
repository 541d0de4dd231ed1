//! Convolutions one after another, without norms by the batch's statistics between them: what lies between them stays in
//! the cache of a core.
//!
//! Forwards each core takes some images, or a band of rows of one, through all of the convolutions; rows above and below
//! a band that a kernel reaches into are computed twice. In training, where the maps are kept, it takes whole images,
//! forwards and backwards; what stays in the cache then are the gradients.

use super::{PackedBackward, PackedConv2d, conv2d_backward_weights, dense::clamp};
use crate::{
    Activation, BatchNorm, Buffer, Conv2dShape, Element, StatisticsSource, assert_len, channel_sums,
    memory::SharedMut, threads,
};
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
    let last = &links[links.len() - 1].shape;
    check(links, residual);
    assert_len("x", x, links[0].shape.input_len());
    assert_len("y", y, last.output_len());
    let Some(pieces) = pieces(links) else {
        let shapes: Vec<Conv2dShape> = links.iter().map(|link| link.shape).collect();
        return through(links, &shapes, x, residual.then_some(x), y);
    };
    let y = SharedMut::new(y);
    pieces.into_par_iter().for_each(|piece| {
        // SAFETY: pieces of rows are disjoint.
        let y = unsafe { y.slice(piece.rows.start * last_row(last), piece.rows.len() * last_row(last)) };
        threads::alone(|| run_piece(links, x, residual, &piece, y));
    });
}

#[track_caller]
fn check<T: Element>(links: &[Link<'_, T>], residual: bool) {
    for link in links {
        link.conv.check_filter(&link.shape);
    }
    for pair in links.windows(2) {
        let (from, to) = (&pair[0].shape, &pair[1].shape);
        let out = [from.batch, from.out_height(), from.out_width(), from.out_channels];
        let wanted = [to.batch, to.in_height, to.in_width, to.in_channels];
        assert_eq!(out, wanted, "one link's output is the next's input");
    }
    if residual {
        let (first, last) = (&links[0].shape, &links[links.len() - 1].shape);
        let output = [last.out_height(), last.out_width(), last.out_channels];
        let input = [first.in_height, first.in_width, first.in_channels];
        assert_eq!(output, input, "the residual has the output's shape");
    }
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
    // A band's tiles would begin elsewhere than the image's, and sum in another order.
    if links.iter().any(|link| link.conv.has_tiles()) {
        return None;
    }
    let last = &links[links.len() - 1].shape;
    let (batch, height) = (last.batch, last.out_height());
    let image = image_bytes::<T>(links.iter().map(|link| &link.shape));
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
        cut(0..batch, batch.div_ceil(groups))
            .map(|images| Piece { rows: images.start * height..images.end * height, images })
            .collect()
    };
    (pieces.len() >= threads).then_some(pieces)
}

/// Of an image's maps on both sides of a convolution, where they are the largest.
fn image_bytes<'a, T: Element>(shapes: impl Iterator<Item = &'a Conv2dShape>) -> usize {
    let bytes =
        |shape: &Conv2dShape| (shape.input_len() + shape.output_len()) / shape.batch.max(1) * size_of::<T>();
    shapes.map(bytes).max().unwrap_or(0).max(1)
}

/// Takes `x` through the links on the threads at hand, in their shapes here; `added`: before the last activation.
fn through<T: Element>(
    links: &[Link<'_, T>],
    shapes: &[Conv2dShape],
    x: &[T],
    added: Option<&[T]>,
    y: &mut [T],
) {
    let mut between: Option<Buffer<T>> = None;
    for (at, (link, shape)) in links.iter().zip(shapes).enumerate() {
        let input = between.as_deref().unwrap_or(x);
        if at + 1 == links.len() {
            return link.conv.forward(shape, input, added, link.activation, y);
        }
        let mut output = Buffer::take(shape.output_len());
        link.conv.forward(shape, input, None, link.activation, &mut output);
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
    through(links, &shapes, input, added, y);
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

/// Whether chains that are trained are worth it: activations are limits, which their results tell, and sums of weight
/// gradients for some images at a time take less memory than the maps between the links.
pub fn has_chain_backward<T: Element>(links: &[(Conv2dShape, Activation)]) -> bool {
    let shapes: Vec<Conv2dShape> = links.iter().map(|(shape, _)| *shape).collect();
    let limits = links.iter().all(|(_, activation)| clamp(*activation).is_some());
    let ends_plainly = links.last().is_some_and(|(_, activation)| *activation == Activation::None);
    limits && ends_plainly && groups::<T>(&shapes).is_some()
}

/// [`conv2d_chain`], and the outputs of all links but the last, which [`conv2d_chain_backward`] needs.
///
/// # Panics
/// As [`conv2d_chain`].
pub fn conv2d_chain_with_maps<T: Element>(
    links: &[Link<'_, T>],
    x: &[T],
    residual: bool,
    y: &mut [T],
) -> Vec<Buffer<T>> {
    check(links, residual);
    let (first, last) = (&links[0].shape, &links[links.len() - 1].shape);
    assert_len("x", x, first.input_len());
    assert_len("y", y, last.output_len());
    let mut maps: Vec<Buffer<T>> =
        links[..links.len() - 1].iter().map(|link| Buffer::take(link.shape.output_len())).collect();
    let outputs: Vec<SharedMut<T>> =
        maps.iter_mut().map(|map| SharedMut::new(map)).chain([SharedMut::new(y)]).collect();
    let each = images_at_once::<T>(links);
    let pieces: Vec<_> = cut(0..last.batch, each.min(last.batch.div_ceil(MOST_GROUPS))).collect();
    pieces.into_par_iter().for_each(|images| {
        threads::alone(|| {
            let x = of_images(x, first.batch, &images);
            let mut input = x;
            for (at, (link, output)) in links.iter().zip(&outputs).enumerate() {
                let shape = Conv2dShape { batch: images.len(), ..link.shape };
                let image = shape.output_len() / images.len();
                // SAFETY: pieces of images are disjoint.
                let output = unsafe { output.slice(images.start * image, shape.output_len()) };
                let added = (residual && at + 1 == links.len()).then_some(x);
                link.conv.forward(&shape, input, added, link.activation, output);
                input = output;
            }
        });
    });
    maps
}

/// Images in pieces of so many.
fn cut(images: Range<usize>, each: usize) -> impl Iterator<Item = Range<usize>> {
    let (end, each) = (images.end, each.max(1));
    images.step_by(each).map(move |start| start..(start + each).min(end))
}

/// So many images' maps on both sides of a convolution fit into a core's cache.
fn images_at_once<T: Element>(links: &[Link<'_, T>]) -> usize {
    let image = image_bytes::<T>(links.iter().map(|link| &link.shape));
    // Words of two bf16 pair images.
    (CACHED / image).next_multiple_of(T::PER_WORD).max(T::PER_WORD)
}

/// What belongs to some of the images.
fn of_images<'a, T>(all: &'a [T], batch: usize, images: &Range<usize>) -> &'a [T] {
    let image = all.len() / batch;
    &all[images.start * image..images.end * image]
}

/// Gradients with respect to a link's weights and bias.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkGradients {
    /// In PyTorch's order.
    pub weights: Vec<f32>,
    /// `[out_channels]`
    pub bias: Vec<f32>,
}

impl LinkGradients {
    fn add(&mut self, more: &Self) {
        let add = |to: &mut [f32], more: &[f32]| to.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.weights, &more.weights);
        add(&mut self.bias, &more.bias);
    }
}

/// The backward pass of [`conv2d_chain_with_maps`]: gradients with respect to the maps between the links stay in the
/// cache of a core.
///
/// `weights`: what each link was packed from, multiplied by its scale; `x`, `maps` and `residual`: of the forward pass;
/// `dy`: the gradient with respect to its output; `dx`: overwritten with the one with respect to `x`, where that is
/// wanted.
///
/// # Panics
/// As [`conv2d_chain`]; and where [`has_chain_backward`] says no.
#[allow(clippy::too_many_arguments)] // the forward pass's, and gradients
pub fn conv2d_chain_backward<T: Element>(
    links: &[Link<'_, T>],
    weights: &[&[f32]],
    x: &[T],
    maps: &[&[T]],
    residual: bool,
    dy: &[T],
    dx: Option<&mut [T]>,
) -> Vec<LinkGradients> {
    let shapes: Vec<Conv2dShape> = links.iter().map(|link| link.shape).collect();
    check(links, residual);
    assert_len("x", x, shapes[0].input_len());
    assert_len("dy", dy, shapes[shapes.len() - 1].output_len());
    if let Some(dx) = &dx {
        assert_len("dx", dx, x.len());
    }
    assert_eq!([weights.len(), maps.len() + 1], [links.len(); 2], "weights for each link, maps between them");
    for (map, shape) in maps.iter().zip(&shapes[1..]) {
        assert_len("maps", map, shape.input_len());
    }
    let groups = groups::<T>(&shapes).expect("a chain that has a backward pass");
    let packed = links
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(at, (link, weights))| {
            assert_len("weights", weights, link.shape.weight_len());
            (at > 0 || dx.is_some()).then(|| PackedBackward::pack::<T>(&link.shape, weights))
        })
        .collect();
    let backward = Backward { links, packed, x, maps, residual, dy, dx: dx.map(SharedMut::new) };
    let parts: Vec<Vec<LinkGradients>> =
        groups.into_par_iter().map(|images| threads::alone(|| backward.run(images))).collect();
    (0..links.len())
        .map(|link| LinkGradients {
            weights: sum(&parts, |part| &part[link].weights),
            bias: sum(&parts, |part| &part[link].bias),
        })
        .collect()
}

/// Images whose weight gradients are summed together; they depend on the shapes alone, so that sums do too.
fn groups<T: Element>(shapes: &[Conv2dShape]) -> Option<Vec<Range<usize>>> {
    let batch = shapes[0].batch;
    let weights: usize = shapes.iter().map(Conv2dShape::weight_len).sum();
    let between: usize = shapes[1..].iter().map(Conv2dShape::input_len).sum();
    let most = 2 * between * size_of::<T>() / (weights * size_of::<f32>());
    let each = batch.div_ceil(most.clamp(1, MOST_GROUPS)).next_multiple_of(T::PER_WORD);
    let groups: Vec<_> = cut(0..batch, each).collect();
    (groups.len() >= FEWEST_GROUPS).then_some(groups)
}

/// Enough to share them evenly among some threads.
const MOST_GROUPS: usize = 16;

/// With fewer, threads would have nothing to do.
const FEWEST_GROUPS: usize = 4;

/// Adds the parts' numbers in their order.
fn sum<'a>(
    parts: &'a [Vec<LinkGradients>],
    of: impl Fn(&'a Vec<LinkGradients>) -> &'a [f32] + Sync,
) -> Vec<f32> {
    const PIECE: usize = 4096;
    let mut sums = vec![0.0; of(&parts[0]).len()];
    sums.par_chunks_mut(PIECE).enumerate().for_each(|(at, sums)| {
        let mut totals = vec![0.0f64; sums.len()];
        for part in parts {
            let part = &of(part)[at * PIECE..][..totals.len()];
            totals.iter_mut().zip(part).for_each(|(total, value)| *total += f64::from(*value));
        }
        sums.iter_mut().zip(totals).for_each(|(sum, total)| *sum = total as f32);
    });
    sums
}

struct Backward<'a, T: Element> {
    links: &'a [Link<'a, T>],
    packed: Vec<Option<PackedBackward>>,
    x: &'a [T],
    maps: &'a [&'a [T]],
    residual: bool,
    dy: &'a [T],
    dx: Option<SharedMut<T>>,
}

impl<T: Element> Backward<'_, T> {
    /// Takes a group of images backwards, as many at once as the cache holds.
    fn run(&self, images: Range<usize>) -> Vec<LinkGradients> {
        let mut parts = cut(images, images_at_once::<T>(self.links)).map(|images| self.run_some(&images));
        let mut all = parts.next().expect("groups have images");
        for part in parts {
            all.iter_mut().zip(&part).for_each(|(sums, part)| sums.add(part));
        }
        all
    }

    fn run_some(&self, images: &Range<usize>) -> Vec<LinkGradients> {
        let batch = self.links[0].shape.batch;
        let (x, dy) = (of_images(self.x, batch, images), of_images(self.dy, batch, images));
        let mut gradients = vec![LinkGradients::default(); self.links.len()];
        let mut dz: Option<Buffer<T>> = None;
        for at in (0..self.links.len()).rev() {
            let shape = Conv2dShape { batch: images.len(), ..self.links[at].shape };
            let input = if at == 0 { x } else { of_images(self.maps[at - 1], batch, images) };
            let before = dz.as_deref().unwrap_or(dy);
            let found = &mut gradients[at];
            if dz.is_none() {
                found.bias = channel_sums(shape.out_channels, dy);
            }
            found.weights = vec![0.0; shape.weight_len()];
            conv2d_backward_weights(&shape, input, before, &mut found.weights);
            let Some(packed) = &self.packed[at] else { break };
            if at == 0 {
                let dx = self.dx.expect("it is wanted");
                // SAFETY: images of groups are disjoint.
                let dx = unsafe { dx.slice(images.start * (x.len() / images.len()), x.len()) };
                packed.run(&shape, before, self.residual.then_some(dy), dx);
            } else {
                let mut after = Buffer::take(shape.input_len());
                packed.run(&shape, before, None, &mut after);
                let mut next = Buffer::take(after.len());
                let activation = self.links[at - 1].activation;
                gradients[at - 1].bias =
                    before_limits(activation, shape.in_channels, input, &after, &mut next);
                dz = Some(next);
            }
        }
        gradients
    }
}

/// The gradient before an activation that only limits, from what it gave; and the sums of its channels.
fn before_limits<T: Element>(
    activation: Activation,
    channels: usize,
    output: &[T],
    dy: &[T],
    before: &mut [T],
) -> Vec<f32> {
    // What lies between the limits is what it was before: a norm that changes nothing has this backward pass.
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let norm =
        BatchNorm { mean: &zeros, variance: &ones, gamma: &ones, beta: &zeros, epsilon: 0.0, activation };
    norm.backward(StatisticsSource::Frozen, output, None, dy, None, before, None).beta
}
