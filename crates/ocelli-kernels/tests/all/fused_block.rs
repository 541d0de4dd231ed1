//! Backward passes of fused blocks against a slow f64 implementation and for any number of threads.

use crate::common::*;
use ocelli_kernels::{
    Activation, Conv2dShape, Element, FusedStage, PackedConv2d, StageGradients, bf16, fused_block,
    fused_block_backward, fused_block_with_feature_maps, has_fused_block_backward,
};

/// A fused block with random values.
struct Block<T> {
    shapes: Vec<Conv2dShape>,
    activations: Vec<Activation>,
    residual: bool,
    weights: Vec<Vec<f32>>,
    biases: Vec<Vec<f32>>,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Block<T> {
    fn new(shapes: &[Conv2dShape], activations: &[Activation], residual: bool) -> Self {
        let last = shapes.last().expect("a block has stages");
        // Some sums shall lie above 6, some below 0.
        let weights = |(seed, shape): (u64, &Conv2dShape)| {
            let inputs = (shape.weight_len() / shape.out_channels) as f32;
            random::<f32>(seed, shape.weight_len()).iter().map(|w| w * 6.0 / inputs.sqrt()).collect()
        };
        Block {
            shapes: shapes.to_vec(),
            activations: activations.to_vec(),
            residual,
            weights: (10..).zip(shapes).map(weights).collect(),
            biases: (20..).zip(shapes).map(|(seed, shape)| random(seed, shape.out_channels)).collect(),
            x: random(1, shapes[0].input_len()),
            dy: random(2, last.output_len()),
        }
    }

    /// Gradients of the stages and of `x`, by the kernels.
    fn gradients(&self) -> (Vec<StageGradients>, Vec<T>) {
        let kinds: Vec<_> = self.shapes.iter().copied().zip(self.activations.iter().copied()).collect();
        assert!(has_fused_block_backward::<T>(&kinds), "{:?}", self.shapes);
        let pack = |((shape, weights), bias): ((&Conv2dShape, &Vec<f32>), &Vec<f32>)| {
            PackedConv2d::<T>::pack(shape, weights, None, Some(bias))
        };
        let packed: Vec<_> = self.shapes.iter().zip(&self.weights).zip(&self.biases).map(pack).collect();
        let stages: Vec<_> = (0..packed.len())
            .map(|at| FusedStage {
                conv: &packed[at],
                shape: self.shapes[at],
                activation: self.activations[at],
            })
            .collect();
        let weights: Vec<&[f32]> = self.weights.iter().map(Vec::as_slice).collect();
        let mut y = vec![T::from_f32(f32::NAN); self.dy.len()];
        let maps = fused_block_with_feature_maps(&stages, &self.x, self.residual, &mut y);
        let mut inference = vec![T::from_f32(f32::NAN); self.dy.len()];
        fused_block(&stages, &self.x, self.residual, &mut inference);
        assert!(y == inference, "keeping the maps changes the result");
        let maps: Vec<&[T]> = maps.iter().map(|map| &map[..]).collect();
        let mut dx = vec![T::from_f32(f32::NAN); self.x.len()];
        let backward = |dx: Option<&mut [T]>| {
            fused_block_backward(&stages, &weights, &self.x, &maps, self.residual, &self.dy, dx)
        };
        let (gradients, without) = (backward(Some(&mut dx)), backward(None));
        assert!(gradients == without, "gradients of the stages depend on whether that of x is computed");
        (gradients, dx)
    }

    /// The same from the definitions, in f64, maps rounded where the kernels store them.
    fn exact(&self) -> (Vec<[Vec<f64>; 2]>, Vec<f64>) {
        let round =
            |values: Vec<f64>| values.iter().map(|v| f64::from(T::from_f32(*v as f32).to_f32())).collect();
        let weights: Vec<Vec<f64>> = self.weights.iter().map(|weights| rounded::<T>(weights)).collect();
        let mut maps: Vec<Vec<f64>> = vec![f64s(&self.x)];
        for (at, shape) in self.shapes.iter().enumerate() {
            let mut y = conv_forward(shape, &maps[at], &weights[at], &f64s(&self.biases[at]));
            if self.residual && at + 1 == self.shapes.len() {
                y.iter_mut().zip(&maps[0]).for_each(|(y, x)| *y += x);
            }
            maps.push(round(y.iter().map(|y| activate(self.activations[at], *y)).collect()));
        }
        let mut gradient = f64s(&self.dy);
        let mut gradients = Vec::new();
        for (at, shape) in self.shapes.iter().enumerate().rev() {
            let passes = |y: f64| match self.activations[at] {
                Activation::Relu6 => y > 0.0 && y < 6.0,
                Activation::Relu => y > 0.0,
                _ => true,
            };
            let dz: Vec<f64> = gradient
                .iter()
                .zip(&maps[at + 1])
                .map(|(dy, y)| if passes(*y) { *dy } else { 0.0 })
                .collect();
            let mut bias = vec![0.0; shape.out_channels];
            dz.iter().enumerate().for_each(|(i, dz)| bias[i % shape.out_channels] += dz);
            gradients.push([conv_backward_weights(shape, &maps[at], &dz), bias]);
            gradient = conv_backward_data(shape, &weights[at], &dz);
            if at > 0 {
                gradient = round(gradient);
            } else if self.residual {
                gradient.iter_mut().zip(f64s(&self.dy)).for_each(|(dx, dy)| *dx += dy);
            }
        }
        gradients.reverse();
        (gradients, gradient)
    }
}

fn bits<T: Element>((stages, dx): &(Vec<StageGradients>, Vec<T>)) -> Vec<u32> {
    let stages = stages.iter().flat_map(|stage| stage.weights.iter().chain(&stage.bias));
    stages.map(|v| v.to_bits()).chain(dx.iter().map(|v| v.to_f32().to_bits())).collect()
}

fn check<T: Element>(shapes: &[Conv2dShape], activations: &[Activation], residual: bool) {
    let block = Block::<T>::new(shapes, activations, residual);
    let (expected, expected_dx) = block.exact();
    on_every_isa(|isa| {
        let seen = on_threads(1, || block.gradients());
        for (at, (stage, [weights, bias])) in seen.0.iter().zip(&expected).enumerate() {
            let what = |of: &str| format!("{of} of stage {at}, {isa}, {shapes:?}");
            assert_close(&what("weights"), &stage.weights, weights, tolerance::<T>());
            assert_close(&what("bias"), &stage.bias, bias, tolerance::<T>());
        }
        assert_close(&format!("dx, {isa}, {shapes:?}"), &seen.1, &expected_dx, tolerance::<T>());
        for threads in [2, 5] {
            let again = on_threads(threads, || block.gradients());
            assert!(bits(&again) == bits(&seen), "{threads} threads, {isa}, {shapes:?}");
        }
    });
}

#[test]
fn gradients_are_those_of_the_definition() {
    use Activation::{None, Relu, Relu6};
    let block = |batch, size, [from, wide, to]: [usize; 3], kernel, stride| {
        let depthwise = usual(batch, size, [wide, wide], kernel, stride, wide);
        let out = depthwise.out_height();
        vec![usual(batch, size, [from, wide], 1, 1, 1), depthwise, usual(batch, out, [wide, to], 1, 1, 1)]
    };
    let cases = [
        (block(8, 9, [8, 48, 8], 3, 1), vec![Relu6, Relu6, None], true),
        (block(9, 10, [8, 40, 12], 5, 2), vec![Relu6, Relu6, None], false),
        (block(17, 7, [5, 33, 5], 3, 1), vec![Relu, Relu6, None], true),
        // Without expansion; dense kernels of several rows.
        (block(8, 9, [8, 48, 8], 3, 1)[1..].to_vec(), vec![Relu6, None], false),
        (vec![usual(8, 12, [3, 16], 3, 1, 1), usual(8, 12, [16, 3], 3, 1, 1)], vec![Relu, None], true),
    ];
    for (shapes, activations, residual) in cases {
        check::<f32>(&shapes, &activations, residual);
        check::<bf16>(&shapes, &activations, residual);
    }
}

#[test]
fn curved_activations_and_large_weights_have_no_backward_pass() {
    let expand = usual(32, 14, [16, 64], 1, 1, 1);
    let project = usual(32, 14, [64, 16], 1, 1, 1);
    assert!(has_fused_block_backward::<f32>(&[(expand, Activation::Relu6), (project, Activation::None)]));
    assert!(!has_fused_block_backward::<f32>(&[(expand, Activation::Silu), (project, Activation::None)]));
    assert!(!has_fused_block_backward::<f32>(&[(expand, Activation::Relu6), (project, Activation::Relu)]));
    let few_pixels = |shape: Conv2dShape| Conv2dShape { batch: 4, in_height: 2, in_width: 2, ..shape };
    let stages = [(few_pixels(expand), Activation::Relu6), (few_pixels(project), Activation::None)];
    assert!(!has_fused_block_backward::<f32>(&stages));
}
