//! The forward pass that keeps the feature maps, and the backward pass.

use super::{
    super::{backward_data::PackedBackward, conv2d_backward_weights},
    CACHE_BYTES, FusedStage, check, image_bytes, split_images,
};
use crate::{
    activation::Activation,
    batch_norm::{BatchNorm, StatisticsSource, channel_sums},
    buffer_pool::Buffer,
    element::Element,
    shape::{Conv2dShape, assert_len},
    shared_mut::SharedMut,
    threads,
};
use rayon::prelude::*;
use std::ops::Range;

/// Whether these stages, with their activations, have a backward pass: activations must be clamps, whose
/// derivative follows from their result, and partial sums of weight gradients must take less memory than the
/// maps between the stages.
pub fn has_fused_block_backward<T: Element>(stages: &[(Conv2dShape, Activation)]) -> bool {
    let shapes: Vec<Conv2dShape> = stages.iter().map(|(shape, _)| *shape).collect();
    let clamps = stages.iter().all(|(_, activation)| activation.limits().is_some());
    let ends_linear = stages.last().is_some_and(|(_, activation)| *activation == Activation::None);
    clamps && ends_linear && image_groups::<T>(&shapes).is_some()
}

/// The same as [`fused_block`](super::fused_block). Returns the outputs of all stages but the last, which
/// [`fused_block_backward`] needs.
///
/// # Panics
/// As [`fused_block`](super::fused_block).
pub fn fused_block_with_feature_maps<T: Element>(
    stages: &[FusedStage<'_, T>],
    x: &[T],
    residual: bool,
    y: &mut [T],
) -> Vec<Buffer<T>> {
    check(stages, residual);
    let (first, last) = (&stages[0].shape, &stages[stages.len() - 1].shape);
    assert_len("x", x, first.input_len());
    assert_len("y", y, last.output_len());
    let mut maps: Vec<Buffer<T>> =
        stages[..stages.len() - 1].iter().map(|stage| Buffer::take(stage.shape.output_len())).collect();
    let outputs: Vec<SharedMut<T>> =
        maps.iter_mut().map(|map| SharedMut::new(map)).chain([SharedMut::new(y)]).collect();
    let each = images_at_once::<T>(stages);
    let pieces: Vec<_> = split_images(0..last.batch, each.min(last.batch.div_ceil(MAX_GROUPS))).collect();
    pieces.into_par_iter().for_each(|images| {
        threads::single_threaded(|| {
            let x = images_of(x, first.batch, &images);
            let mut input = x;
            for (at, (stage, output)) in stages.iter().zip(&outputs).enumerate() {
                let shape = Conv2dShape { batch: images.len(), ..stage.shape };
                let image = shape.output_len() / images.len();
                // SAFETY: pieces of images are disjoint.
                let output = unsafe { output.slice(images.start * image, shape.output_len()) };
                let added = (residual && at + 1 == stages.len()).then_some(x);
                stage.conv.forward(&shape, input, added, stage.activation, output);
                input = output;
            }
        });
    });
    maps
}

/// Images whose maps on both sides of a convolution fit into a core's cache.
fn images_at_once<T: Element>(stages: &[FusedStage<'_, T>]) -> usize {
    let image = image_bytes::<T>(stages.iter().map(|stage| &stage.shape));
    // Words of two bf16 pair images.
    (CACHE_BYTES / image).next_multiple_of(T::PER_WORD).max(T::PER_WORD)
}

/// The part of some of the images.
fn images_of<'a, T>(all: &'a [T], batch: usize, images: &Range<usize>) -> &'a [T] {
    let image = all.len() / batch;
    &all[images.start * image..images.end * image]
}

/// Gradients with respect to a stage's weights and bias.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageGradients {
    /// In PyTorch's order.
    pub weights: Vec<f32>,
    /// `[out_channels]`
    pub bias: Vec<f32>,
}

impl StageGradients {
    fn add(&mut self, more: &Self) {
        let add = |to: &mut [f32], more: &[f32]| to.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        add(&mut self.weights, &more.weights);
        add(&mut self.bias, &more.bias);
    }
}

/// The backward pass of [`fused_block_with_feature_maps`]. Gradients with respect to the maps between the
/// stages stay in the cache of a core.
///
/// `weights`: what each stage was packed from, multiplied by its scale; `x`, `maps` and `residual`: of the
/// forward pass; `dy`: the gradient with respect to its output; `dx`: if given, overwritten with the gradient
/// with respect to `x`.
///
/// # Panics
/// As [`fused_block`](super::fused_block); and where [`has_fused_block_backward`] returns false.
#[allow(clippy::too_many_arguments)] // the forward pass's, and gradients
pub fn fused_block_backward<T: Element>(
    stages: &[FusedStage<'_, T>],
    weights: &[&[f32]],
    x: &[T],
    maps: &[&[T]],
    residual: bool,
    dy: &[T],
    dx: Option<&mut [T]>,
) -> Vec<StageGradients> {
    let shapes: Vec<Conv2dShape> = stages.iter().map(|stage| stage.shape).collect();
    check(stages, residual);
    assert_len("x", x, shapes[0].input_len());
    assert_len("dy", dy, shapes[shapes.len() - 1].output_len());
    if let Some(dx) = &dx {
        assert_len("dx", dx, x.len());
    }
    assert_eq!(
        [weights.len(), maps.len() + 1],
        [stages.len(); 2],
        "weights for each stage, maps between them"
    );
    for (map, shape) in maps.iter().zip(&shapes[1..]) {
        assert_len("maps", map, shape.input_len());
    }
    let groups = image_groups::<T>(&shapes).expect("a fused block that has a backward pass");
    let packed = stages
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(at, (stage, weights))| {
            assert_len("weights", weights, stage.shape.weight_len());
            (at > 0 || dx.is_some()).then(|| PackedBackward::pack::<T>(&stage.shape, weights))
        })
        .collect();
    let backward = Backward { stages, packed, x, maps, residual, dy, dx: dx.map(SharedMut::new) };
    let parts: Vec<Vec<StageGradients>> =
        groups.into_par_iter().map(|images| threads::single_threaded(|| backward.run(images))).collect();
    (0..stages.len())
        .map(|stage| StageGradients {
            weights: sum(&parts, |part| &part[stage].weights),
            bias: sum(&parts, |part| &part[stage].bias),
        })
        .collect()
}

/// Images whose weight gradients are summed together; the shapes alone decide which, so that sums do not
/// depend on the threads.
fn image_groups<T: Element>(shapes: &[Conv2dShape]) -> Option<Vec<Range<usize>>> {
    let batch = shapes[0].batch;
    let weights: usize = shapes.iter().map(Conv2dShape::weight_len).sum();
    let between: usize = shapes[1..].iter().map(Conv2dShape::input_len).sum();
    let most = 2 * between * size_of::<T>() / (weights * size_of::<f32>());
    let each = batch.div_ceil(most.clamp(1, MAX_GROUPS)).next_multiple_of(T::PER_WORD);
    let groups: Vec<_> = split_images(0..batch, each).collect();
    (groups.len() >= MIN_GROUPS).then_some(groups)
}

/// Enough to share them evenly among some threads.
const MAX_GROUPS: usize = 16;

/// With fewer, threads would have nothing to do.
const MIN_GROUPS: usize = 4;

/// Adds the parts' values in their order.
fn sum<'a>(
    parts: &'a [Vec<StageGradients>],
    of: impl Fn(&'a Vec<StageGradients>) -> &'a [f32] + Sync,
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
    stages: &'a [FusedStage<'a, T>],
    packed: Vec<Option<PackedBackward>>,
    x: &'a [T],
    maps: &'a [&'a [T]],
    residual: bool,
    dy: &'a [T],
    dx: Option<SharedMut<T>>,
}

impl<T: Element> Backward<'_, T> {
    /// The backward pass of a group of images, as many at once as the cache holds.
    fn run(&self, images: Range<usize>) -> Vec<StageGradients> {
        let mut parts =
            split_images(images, images_at_once::<T>(self.stages)).map(|images| self.run_some(&images));
        let mut all = parts.next().expect("groups have images");
        for part in parts {
            all.iter_mut().zip(&part).for_each(|(sums, part)| sums.add(part));
        }
        all
    }

    fn run_some(&self, images: &Range<usize>) -> Vec<StageGradients> {
        let batch = self.stages[0].shape.batch;
        let (x, dy) = (images_of(self.x, batch, images), images_of(self.dy, batch, images));
        let mut gradients = vec![StageGradients::default(); self.stages.len()];
        let mut dz: Option<Buffer<T>> = None;
        for at in (0..self.stages.len()).rev() {
            let shape = Conv2dShape { batch: images.len(), ..self.stages[at].shape };
            let input = if at == 0 { x } else { images_of(self.maps[at - 1], batch, images) };
            let before = dz.as_deref().unwrap_or(dy);
            let own = &mut gradients[at];
            if dz.is_none() {
                own.bias = channel_sums(shape.out_channels, dy);
            }
            own.weights = vec![0.0; shape.weight_len()];
            conv2d_backward_weights(&shape, input, before, &mut own.weights);
            let Some(packed) = &self.packed[at] else { break };
            if at == 0 {
                let dx = self.dx.expect("the first stage is packed only if `dx` is given");
                // SAFETY: images of groups are disjoint.
                let dx = unsafe { dx.slice(images.start * (x.len() / images.len()), x.len()) };
                packed.run(&shape, before, self.residual.then_some(dy), dx);
            } else {
                let mut after = Buffer::take(shape.input_len());
                packed.run(&shape, before, None, &mut after);
                let mut next = Buffer::take(after.len());
                let activation = self.stages[at - 1].activation;
                gradients[at - 1].bias =
                    clamp_backward(activation, shape.in_channels, input, &after, &mut next);
                dz = Some(next);
            }
        }
        gradients
    }
}

/// The gradient before an activation that only clamps, from its output; and the gradient's sum for each
/// channel.
fn clamp_backward<T: Element>(
    activation: Activation,
    channels: usize,
    output: &[T],
    dy: &[T],
    before: &mut [T],
) -> Vec<f32> {
    // Between its limits a clamp is the identity: a batch norm that changes nothing has this backward pass.
    let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
    let norm =
        BatchNorm { mean: &zeros, variance: &ones, gamma: &ones, beta: &zeros, epsilon: 0.0, activation };
    norm.backward(StatisticsSource::Frozen, output, None, dy, None, before, None).beta
}
