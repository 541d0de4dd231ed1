//! The kernels' bridge against Burn's own operations, forward and backward, on the layers that networks use.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::builder::build;
use ocelli_nn::layer::{ConvBnAct, ConvSpec, Linear};
use ocelli_nn::op::{self, Activation, AffineNorm, ConvOptions, GlobalPool, Padding, Window};
use ocelli_nn::{Arch, Pass, Statistics, TensorFile};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    super::random::random(shape, rand_distr::StandardNormal, seed, &device())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Work by the kernels, and the same work by Burn's operations.
fn both<T>(work: impl Fn() -> T) -> [T; 2] {
    [work(), op::composed(work)]
}

/// Two tensors are the same within a fraction of the spread of the second.
fn assert_close<const D: usize>(seen: Tensor<D>, wanted: Tensor<D>, what: &str) {
    assert_eq!(seen.dims(), wanted.dims(), "{what}");
    let (seen, wanted) = (numbers(seen), numbers(wanted));
    let spread = wanted.iter().map(|x| x.abs()).fold(0.0, f32::max).max(1e-6);
    for (index, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
        assert!((seen - wanted).abs() < 2e-4 * spread, "{what}: {seen} is not {wanted} at {index}");
    }
}

/// The gradients of Σ output · probe with respect to the inputs.
fn gradients<const O: usize, const D: usize>(
    output: Tensor<O>,
    probe: Tensor<O>,
    of: &[Tensor<D>],
) -> Vec<Tensor<D>> {
    let mut gradients = (output * probe).sum().backward();
    of.iter().map(|tensor| tensor.grad_remove(&mut gradients).expect("a gradient")).collect()
}

/// Else the tests below compare the kernels with themselves.
#[test]
fn composed_operations_do_without_the_kernels() {
    let (x, w, bias) = (random([16, 500], 1), random([16, 500], 2), random([16], 3));
    let [ours, burns] = both(|| numbers(op::linear(x.clone(), w.clone(), bias.clone())));
    assert_ne!(ours, burns, "two orders of summation round differently");
    assert_eq!(ours, numbers(op::linear(x, w, bias)), "the kernels are back");
}

#[test]
fn convolutions_agree_with_burns_in_both_directions() {
    let cases = [
        (8, 12, 1, ConvOptions { stride: 1, padding: Padding::Same, dilation: 1, groups: 1 }),
        (3, 16, 3, ConvOptions { stride: 2, padding: Padding::Same, dilation: 1, groups: 1 }),
        (6, 6, 5, ConvOptions { stride: 2, padding: Padding::Same, dilation: 1, groups: 6 }),
        (6, 9, 3, ConvOptions { stride: 1, padding: Padding::Symmetric([2; 2]), dilation: 2, groups: 3 }),
    ];
    for (case, (from, to, kernel, conv)) in cases.into_iter().enumerate() {
        let x = random([2, from, 9, 10], 1).require_grad();
        let w = random([to, from / conv.groups, kernel, kernel], 2).require_grad();
        let [ours, burns] = both(|| op::conv2d(x.clone(), w.clone(), conv));
        assert_close(ours.clone().inner(), burns.clone().inner(), &format!("output of case {case}"));
        let probe = random(ours.dims(), 3);
        let ours = gradients(ours, probe.clone(), &[x.clone(), w.clone()]);
        let burns = gradients(burns, probe, &[x, w]);
        for ((ours, burns), of) in ours.into_iter().zip(burns).zip(["input", "weight"]) {
            assert_close(ours, burns, &format!("gradient of the {of} of case {case}"));
        }
    }
}

#[test]
fn convolutions_with_bias_and_residual_agree_with_burns_in_both_directions() {
    let conv = ConvOptions { stride: 2, padding: Padding::Same, dilation: 1, groups: 1 };
    for with_residual in [true, false] {
        let x = random([2, 8, 9, 10], 1).require_grad();
        let w = random([12, 8, 3, 3], 2).require_grad();
        let bias = random([12], 3).require_grad();
        let residual = with_residual.then(|| random([2, 12, 5, 5], 4).require_grad());
        let [ours, burns] = both(|| {
            let output = op::conv2d_with_bias(x.clone(), w.clone(), bias.clone(), residual.clone(), conv);
            let probe = random(output.dims(), 5);
            let mut gradients = (output.clone() * probe).sum().backward();
            let maps = [Some(&x), Some(&w), residual.as_ref()].into_iter().flatten();
            let maps: Vec<_> = maps.map(|tensor| tensor.grad_remove(&mut gradients).unwrap()).collect();
            (output.inner(), maps, bias.grad_remove(&mut gradients).unwrap())
        });
        assert_close(ours.0, burns.0, "output");
        for (at, (ours, burns)) in ours.1.into_iter().zip(burns.1).enumerate() {
            assert_close(ours, burns, &format!("gradient of maps {at}"));
        }
        assert_close(ours.2, burns.2, "gradient of the bias");
    }
}

/// Also where the input is used besides, so that its gradient comes by two ways.
#[test]
fn layer_norms_agree_with_burns_in_both_directions() {
    for besides in [false, true] {
        let leaf = random([3, 21, 4, 5], 70).require_grad();
        let weight = random([21], 71).require_grad();
        let bias = random([21], 72).require_grad();
        let [ours, burns] = both(|| {
            let x = leaf.clone().mul_scalar(2.0);
            let mut output = op::layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-6);
            if besides {
                let identity = Tensor::<2>::eye(21, &leaf.device()).reshape([21, 21, 1, 1]);
                let conv = ConvOptions { stride: 1, padding: Padding::Same, dilation: 1, groups: 1 };
                output = op::conv2d_with_bias(output, identity, bias.clone(), Some(x), conv);
            }
            let probe = random(output.dims(), 73);
            let mut gradients = (output.clone() * probe).sum().backward();
            let vectors = [&weight, &bias].map(|tensor| tensor.grad_remove(&mut gradients).unwrap());
            (output.inner(), leaf.grad_remove(&mut gradients).unwrap(), vectors)
        });
        assert_close(ours.0, burns.0, "normalised");
        assert_close(ours.1, burns.1, "gradient of the input");
        for (ours, burns) in ours.2.into_iter().zip(burns.2) {
            assert_close(ours, burns, "gradient of a parameter");
        }
    }
}

#[test]
fn attention_agrees_with_burns_in_both_directions() {
    for (images, heads, width, tokens) in [(2, 3, 8, 37), (1, 2, 5, 3)] {
        let qkv = random([images, 3 * heads * width, tokens, 1], 74).require_grad();
        let [ours, burns] = both(|| op::attention(qkv.clone(), heads));
        assert_close(ours.clone().inner(), burns.clone().inner(), "mixed");
        let probe = random(ours.dims(), 75);
        let ours = gradients(ours, probe.clone(), std::slice::from_ref(&qkv)).remove(0);
        assert_close(ours, gradients(burns, probe, &[qkv]).remove(0), "gradient of queries, keys and values");
    }
}

#[test]
fn batch_norms_agree_with_burns_in_both_directions() {
    for from_batch in [true, false] {
        for with_residual in [true, false] {
            for activation in [
                Activation::None,
                Activation::Relu,
                Activation::Relu6,
                Activation::Silu,
                Activation::Gelu,
                Activation::HardSwish,
            ] {
                let what = format!("batch {from_batch}, residual {with_residual}, {activation:?}");
                let x = random([3, 5, 4, 6], 4).require_grad();
                let residual = with_residual.then(|| random([3, 5, 4, 6], 5).mul_scalar(3.0).require_grad());
                let weight = random([5], 6).require_grad();
                let bias = random([5], 7).require_grad();
                let (mean, variance) = if from_batch {
                    op::batch_statistics(x.clone().inner())
                } else {
                    (random([5], 8).inner(), random([5], 9).inner().abs().add_scalar(0.5))
                };
                let scale = || AffineNorm {
                    weight: weight.clone(),
                    bias: bias.clone(),
                    mean: mean.clone(),
                    variance: variance.clone(),
                    epsilon: 1e-3,
                    from_batch,
                };
                let [ours, burns] = both(|| op::batch_norm(x.clone(), scale(), residual.clone(), activation));
                assert_close(ours.clone().inner(), burns.clone().inner(), &what);
                let probe = random(ours.dims(), 10);
                let all = |output: Tensor<4>| {
                    let mut gradients = (output * probe.clone()).sum().backward();
                    let maps: Vec<Tensor<4>> = [Some(&x), residual.as_ref()]
                        .into_iter()
                        .flatten()
                        .map(|tensor| tensor.grad_remove(&mut gradients).unwrap())
                        .collect();
                    let vectors = [&weight, &bias].map(|tensor| tensor.grad_remove(&mut gradients).unwrap());
                    (maps, vectors)
                };
                let (ours, burns) = (all(ours), all(burns));
                for (ours, burns) in ours.0.into_iter().zip(burns.0) {
                    assert_close(ours, burns, &what);
                }
                for (ours, burns) in ours.1.into_iter().zip(burns.1) {
                    assert_close(ours, burns, &what);
                }
            }
        }
    }
}

#[test]
fn chains_agree_with_burns_in_both_directions() {
    use op::{TrainableStage, trainable_block};
    let vector = |channels, seed| random([channels], seed);
    // With an expansion and a residual, and without either; the last has too few images for a backward pass of its own.
    for (case, (images, channels, stride, expands)) in
        [(8, [8, 48, 8], 1, true), (9, [24, 24, 10], 2, false), (1, [8, 48, 8], 1, true)]
            .into_iter()
            .enumerate()
    {
        let [from, wide, to] = channels;
        let residual = expands;
        let link = |weight: [usize; 4], stride: usize, activation, seed: u64| TrainableStage {
            norm: AffineNorm {
                weight: vector(weight[0], seed).add_scalar(1.0),
                bias: vector(weight[0], seed + 1).add_scalar(2.0),
                mean: vector(weight[0], seed + 2).inner(),
                variance: vector(weight[0], seed + 3).powf_scalar(2.0).add_scalar(0.5).inner(),
                epsilon: 1e-3,
                from_batch: false,
            },
            options: ConvOptions {
                stride,
                padding: Padding::Same,
                dilation: 1,
                groups: if weight[1] == 1 { weight[0] } else { 1 },
            },
            weight: random(weight, seed + 4),
            activation,
        };
        let mut links = vec![
            link([wide, 1, 3, 3], stride, Activation::Relu6, 20),
            link([to, wide, 1, 1], 1, Activation::None, 30),
        ];
        if expands {
            links.insert(0, link([wide, from, 1, 1], 1, Activation::Relu6, 10));
        }
        let x = random([images, from, 10, 9], 1).require_grad();
        for link in &mut links {
            link.weight = link.weight.clone().inner().autodiff().require_grad();
            link.norm.weight = link.norm.weight.clone().inner().autodiff().require_grad();
            link.norm.bias = link.norm.bias.clone().inner().autodiff().require_grad();
        }
        let ours = trainable_block(x.clone(), links.clone(), residual);
        let last = links.len() - 1;
        let burns = op::composed(|| {
            links.iter().cloned().enumerate().fold(x.clone(), |y, (at, link)| {
                let added = (residual && at == last).then(|| x.clone());
                let y = op::conv2d(y, link.weight, link.options);
                op::batch_norm(y, link.norm, added, link.activation)
            })
        });
        assert_close(ours.clone().inner(), burns.clone().inner(), &format!("output of case {case}"));
        let probe = random(ours.dims(), 3);
        let weights: Vec<Tensor<4>> =
            std::iter::once(x.clone()).chain(links.iter().map(|link| link.weight.clone())).collect();
        let vectors: Vec<Tensor<1>> =
            links.iter().flat_map(|link| [link.norm.weight.clone(), link.norm.bias.clone()]).collect();
        let of = |output: Tensor<4>| {
            let mut gradients = (output * probe.clone()).sum().backward();
            let weights: Vec<_> = weights
                .iter()
                .map(|tensor| tensor.grad_remove(&mut gradients).expect("a gradient"))
                .collect();
            let vectors: Vec<_> = vectors
                .iter()
                .map(|tensor| tensor.grad_remove(&mut gradients).expect("a gradient"))
                .collect();
            (weights, vectors)
        };
        let (ours, burns) = (of(ours), of(burns));
        for (at, (ours, burns)) in ours.0.into_iter().zip(burns.0).enumerate() {
            assert_close(ours, burns, &format!("gradient of x or weight {at}, case {case}"));
        }
        for (at, (ours, burns)) in ours.1.into_iter().zip(burns.1).enumerate() {
            assert_close(ours, burns, &format!("gradient of norm {at}, case {case}"));
        }
    }
}

#[test]
fn statistics_are_the_mean_and_the_biased_variance() {
    let x = random([4, 3, 5, 6], 11).inner();
    let [(mean, variance), (wanted_mean, wanted_variance)] = both(|| op::batch_statistics(x.clone()));
    assert_close(mean, wanted_mean, "mean");
    assert_close(variance, wanted_variance, "variance");
}

#[test]
fn pools_and_linear_layers_agree_with_burns_in_both_directions() {
    for pool in [GlobalPool::Average, GlobalPool::MaximumAndAverage] {
        let x = random([3, 7, 4, 5], 12).require_grad();
        let [ours, burns] = both(|| op::global_pool(x.clone(), pool));
        assert_close(ours.clone().inner(), burns.clone().inner(), "pooled");
        let probe = random(ours.dims(), 13);
        let ours = gradients(ours, probe.clone(), std::slice::from_ref(&x)).remove(0);
        assert_close(ours, gradients(burns, probe, &[x]).remove(0), "gradient of pooling");
    }
    let x = random([6, 10], 14).require_grad();
    let w = random([4, 10], 15).require_grad();
    let bias = random([4], 16).require_grad();
    let [ours, burns] = both(|| {
        let output = op::linear(x.clone(), w.clone(), bias.clone());
        let probe = random(output.dims(), 17);
        let mut gradients = (output.clone() * probe).sum().backward();
        (
            output.inner(),
            x.grad_remove(&mut gradients).unwrap(),
            w.grad_remove(&mut gradients).unwrap(),
            bias.grad_remove(&mut gradients).unwrap(),
        )
    });
    assert_close(ours.0, burns.0, "output");
    assert_close(ours.1, burns.1, "gradient of the input");
    assert_close(ours.2, burns.2, "gradient of the weight");
    assert_close(ours.3, burns.3, "gradient of the bias");
}

#[test]
fn windows_agree_with_burns_in_both_directions() {
    let windows = [
        Window::new(3, 2).padding(1),
        Window::new(2, 2),
        Window::new(3, 2).ceil(),
        Window::new(2, 2).padding(1).ceil(),
        Window { kernel: [1, 3], stride: [1, 2], padding: [0, 1], ceil: false },
    ];
    for window in windows {
        let x = random([2, 5, 9, 10], 30).require_grad();
        let pools: [fn(Tensor<4>, Window) -> Tensor<4>; 3] = [
            op::max_pool2d,
            |x, window| op::average_pool2d(x, window, true),
            |x, window| op::average_pool2d(x, window, false),
        ];
        for (at, pool) in pools.into_iter().enumerate() {
            let what = format!("pooling {at} with {window:?}");
            let [ours, burns] = both(|| pool(x.clone(), window));
            assert_close(ours.clone().inner(), burns.clone().inner(), &what);
            let probe = random(ours.dims(), 31);
            let ours = gradients(ours, probe.clone(), std::slice::from_ref(&x)).remove(0);
            assert_close(ours, gradients(burns, probe, std::slice::from_ref(&x)).remove(0), &what);
        }
    }
}

#[test]
fn factors_of_channels_agree_with_burns_in_both_directions() {
    let x = random([3, 7, 4, 5], 32).require_grad();
    let factors = random([3, 7], 33).require_grad();
    let [ours, burns] = both(|| {
        let output = op::scale_channels(x.clone(), factors.clone());
        let probe = random(output.dims(), 34);
        let mut gradients = (output.clone() * probe).sum().backward();
        (output.inner(), x.grad_remove(&mut gradients).unwrap(), factors.grad_remove(&mut gradients).unwrap())
    });
    assert_close(ours.0, burns.0, "output");
    assert_close(ours.1, burns.1, "gradient of the maps");
    assert_close(ours.2, burns.2, "gradient of the factors");
}

#[test]
fn concatenated_maps_agree_with_burns_in_both_directions() {
    let channels = [5, 16, 3];
    let parts = channels.map(|channels| random([2, channels, 4, 6], channels as u64).require_grad());
    let [ours, burns] = both(|| op::concat(parts.to_vec()));
    assert_close(ours.clone().inner(), burns.clone().inner(), "concatenated");
    let probe = random(ours.dims(), 80);
    let gradients = [ours, burns].map(|output| gradients(output, probe.clone(), &parts));
    let [ours, burns] = gradients;
    for (at, (ours, burns)) in ours.into_iter().zip(burns).enumerate() {
        assert_close(ours, burns, &format!("gradient of part {at}"));
    }
}

/// A norm and a mean whose input is used besides, as in DenseNet and in squeeze and excitation, by the operations'
/// results and as a parameter would be.
#[test]
fn gradients_that_meet_are_added() {
    for of_parameter in [false, true] {
        let leaf = random([3, 12, 4, 5], 81).require_grad();
        let (weight, bias) = (random([12], 82), random([12], 83));
        let [ours, burns] = both(|| {
            let x = if of_parameter { leaf.clone() } else { leaf.clone().mul_scalar(0.5) };
            let (mean, variance) = op::batch_statistics(x.clone().inner());
            let (weight, bias) = (weight.clone(), bias.clone());
            let scales = AffineNorm { weight, bias, mean, variance, epsilon: 1e-5, from_batch: true };
            let normalised = op::batch_norm(x.clone(), scales, None, Activation::Relu);
            let scaled = op::scale_channels(x.clone(), op::global_pool(x.clone(), GlobalPool::Average));
            let output = op::concat(vec![x, normalised, scaled]);
            let probe = random(output.dims(), 84);
            gradients(output, probe, std::slice::from_ref(&leaf)).remove(0)
        });
        assert_close(ours, burns, "gradient of the input");
    }
}

#[test]
fn optimizers_steps_agree_with_burns() {
    let vector = |seed| random([1000], seed).inner();
    let step = op::SgdStep { lr: 0.1, momentum: 0.9, decay_factor: 0.99 };
    for velocity in [None, Some(vector(42))] {
        let [ours, burns] = both(|| op::sgd_step(step, vector(40), vector(41), velocity.clone()));
        assert_close(ours.0, burns.0, "weights of SGD");
        assert_close(ours.1, burns.1, "velocity of SGD");
    }
    let step = op::AdamWStep {
        step_size: 0.1,
        beta_1: 0.9,
        beta_2: 0.99,
        square_factor: 2.0,
        epsilon: 1e-8,
        decay_factor: 0.99,
    };
    for averages in [None, Some([vector(42), vector(43).abs()])] {
        let [ours, burns] = both(|| op::adamw_step(step, vector(40), vector(41), averages.clone()));
        assert_close(ours.0, burns.0, "weights of AdamW");
        for (ours, burns) in ours.1.into_iter().zip(burns.1) {
            assert_close(ours, burns, "averages of AdamW");
        }
    }
}

#[test]
fn folded_convolutions_follow_their_parameters() {
    let construct = |builder: &ocelli_nn::Builder| {
        ConvBnAct::new(builder, ["conv", "norm"], ConvSpec::new(4, 6, 3).same(), 1e-3, Activation::Relu)
    };
    let mut tensors = TensorFile::new("test");
    tensors.insert("conv.weight", vec![6, 4, 3, 3], numbers(random([216], 18)));
    for (name, offset) in [("weight", 0.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 2.0)] {
        let values = random([6], name.len() as u64).abs().add_scalar(offset);
        tensors.insert(format!("norm.{name}"), vec![6], numbers(values));
    }
    let (layer, _) = build("test", &Device::flex(), Some(&tensors), |_| true, 0, 3, construct).unwrap();
    let x = random([2, 4, 8, 8], 19);
    let trained = Pass::train(Statistics::Running, 0);
    let folded = layer.forward(x.clone(), None, &Pass::Infer);
    assert_close(folded.clone(), layer.forward(x.clone(), None, &trained).inner(), "folded");
    assert!(!folded.is_autodiff(), "inference leaves autodiff");

    struct Double;
    impl burn::module::ModuleMapper for Double {
        fn map_float<const D: usize>(
            &mut self,
            parameter: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            parameter.map(|tensor| tensor.inner().mul_scalar(2.0).autodiff())
        }
    }
    let layer = layer.map(&mut Double);
    let doubled = layer.forward(x.clone(), None, &Pass::Infer);
    assert_close(doubled.clone(), layer.forward(x, None, &trained).inner(), "folded anew");
    assert!(numbers((doubled - folded).abs().sum())[0] > 1.0, "the change was seen");
}

#[test]
fn an_images_logits_do_not_depend_on_its_batch() {
    let weights = TensorFile::parse(ocelli_lite0::WEIGHTS, "embedded weights").unwrap();
    let network = Arch::EfficientNetLite0.transfer(&weights, 3, 7, &Device::flex()).unwrap();
    let images = random([5, 3, 64, 64], 20).inner();
    let together = numbers(network.infer(images.clone()));
    for image in 0..5 {
        let alone = numbers(network.infer(images.clone().narrow(0, image, 1)));
        assert_eq!(alone, together[image * 3..(image + 1) * 3], "image {image}, to the bit");
    }
}

#[test]
fn dropout_keeps_the_mean_and_depends_on_its_key_alone() {
    let (dropout, _) = build(
        "test",
        &Device::flex(),
        None,
        |_| true,
        0,
        3,
        |builder| ocelli_nn::layer::Dropout::new(builder, 0.25),
    )
    .unwrap();
    let ones = Tensor::<2>::ones([64, 256], &Device::flex());
    let drop = |key| numbers(dropout.forward(ones.clone(), &Pass::train(Statistics::Batch, key)));
    let first = drop(1);
    assert_eq!(first, drop(1));
    assert_ne!(first, drop(2));
    let zeros = first.iter().filter(|x| **x == 0.0).count() as f64 / first.len() as f64;
    assert!((zeros - 0.25).abs() < 0.02, "{zeros} of the numbers are dropped");
    assert!(first.iter().all(|x| *x == 0.0 || (*x - 4.0 / 3.0).abs() < 1e-6));
    assert_eq!(numbers(dropout.forward(ones, &Pass::Infer)), vec![1.0; 64 * 256]);
}

#[test]
fn linear_layers_start_kaiming_normal() {
    let start = |seed| {
        build("test", &Device::flex(), None, |_| true, seed, 3, |builder| Linear::new(builder, 800, 300))
            .unwrap()
            .0
    };
    let identity = Tensor::<2>::eye(800, &Device::flex());
    let weights = |seed| numbers(start(seed).forward(identity.clone(), &Pass::Infer));
    let first = weights(1);
    let mean = first.iter().sum::<f32>() / first.len() as f32;
    let variance = first.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / first.len() as f32;
    assert!(mean.abs() < 1e-3, "mean {mean}");
    assert!((variance - 2.0 / 800.0).abs() < 5e-5, "variance {variance}");
    assert_eq!(first, weights(1), "the same seed");
    assert_ne!(first, weights(2), "another seed");
}

#[test]
fn training_passes_report_statistics_and_gradients_reach_only_trained_groups() {
    let weights = TensorFile::parse(ocelli_lite0::WEIGHTS, "embedded weights").unwrap();
    let network = Arch::EfficientNetLite0.transfer(&weights, 2, 7, &Device::flex()).unwrap();
    let images = random([4, 3, 32, 32], 21).inner();
    for first in 0..3 {
        let network = network.clone().train_groups_from(first);
        let start = network.group_boundaries()[first];
        let prefix = network.infer_stages(images.clone(), 0, start).maps;
        let pass = Pass::train(Statistics::Batch, 1);
        let logits = network.forward_from(start, prefix, &pass);
        let gradients = logits.powf_scalar(2.0).sum().backward();
        struct Reached<'a>(&'a burn::tensor::Gradients, Vec<burn::module::ParamId>);
        impl burn::module::ModuleVisitor for Reached<'_> {
            fn visit_float<const D: usize>(&mut self, parameter: &burn::module::Param<Tensor<D>>) {
                if parameter.val().grad(self.0).is_some() {
                    self.1.push(parameter.id);
                }
            }
        }
        let mut reached = Reached(&gradients, Vec::new());
        network.visit(&mut reached);
        let roles = network.roles();
        let wanted = roles
            .values()
            .filter(|role| role.group >= first && role.kind != ocelli_nn::ParamKind::RunningStat)
            .count();
        assert_eq!(reached.1.len(), wanted);
        assert!(reached.1.iter().all(|id| roles[id].group >= first));

        let Pass::Train(training) = pass else { unreachable!() };
        let seen = training.batch_stats.into_inner();
        assert_eq!(
            2 * seen.len(),
            roles
                .values()
                .filter(|p| p.group >= first && p.kind == ocelli_nn::ParamKind::RunningStat)
                .count()
        );
        let (name, mean) = (network.name(seen[0].mean.0).to_owned(), numbers(seen[0].mean.1.clone()));
        let before = network.to_tensors().get(&name).unwrap().values.clone();
        let after = network.update_running_stats(seen).to_tensors().get(&name).unwrap().values.clone();
        for ((before, after), seen) in before.iter().zip(after).zip(mean) {
            assert!((0.9 * before + 0.1 * seen - after).abs() < 1e-5 * after.abs().max(1.0), "{name}");
        }
    }
}

/// The gradient of a class's logit with respect to the last maps, as a network is used, is what moving the maps a little
/// shows.
#[test]
fn gradients_of_a_network_in_use_are_finite_differences() {
    let device = Device::flex();
    let weights = TensorFile::parse(ocelli_lite0::WEIGHTS, "lite0").unwrap();
    let network = Arch::EfficientNetLite0.transfer(&weights, 3, 7, &device).unwrap();
    let (images, channels) = (2, 1280);
    let values: Vec<f32> =
        (0..images * channels * 4).map(|at| (((at * 37) % 101) as f32 / 50.0 - 1.0).max(0.0)).collect();
    let maps = |values: &[f32]| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), [images, channels, 2, 2]), &device)
    };
    // The sum of the first image's logit of class 1 and the second's of class 2.
    let score = |values: &[f32]| {
        let logits =
            network.infer_head(network.pool(maps(values))).into_data().try_into_vec::<f32>().unwrap();
        f64::from(logits[1]) + f64::from(logits[3 + 2])
    };
    let leaf = maps(&values).autodiff().require_grad();
    let pass = Pass::differentiable();
    let logits = network.forward_head(network.pool(leaf.clone()), &pass);
    assert!(pass.into_batch_stats().is_empty(), "no statistics are learnt");
    let plain = network.infer_head(network.pool(maps(&values))).into_data();
    assert_eq!(logits.clone().inner().into_data(), plain, "the numbers of inference, to the bit");
    let chosen = Tensor::<2>::from_data(
        TensorData::new(vec![0.0f32, 1.0, 0.0, 0.0, 0.0, 1.0], [2, 3]),
        &logits.device(),
    );
    let gradients = (logits * chosen).sum().backward();
    let gradient = leaf.grad(&gradients).unwrap().into_data().try_into_vec::<f32>().unwrap();
    let largest = gradient.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    for at in (0..values.len()).step_by(997) {
        let moved = |by: f32| {
            let mut moved = values.clone();
            moved[at] += by;
            score(&moved)
        };
        let slope = (moved(2e-2) - moved(-2e-2)) / 4e-2;
        // A maximum that moves to another pixel on the way has no one slope.
        let map = &values[at / 4 * 4..][..4];
        let unclear =
            map.iter().enumerate().any(|(other, value)| other != at % 4 && (value - values[at]).abs() < 3e-2);
        assert!(
            unclear || (slope - f64::from(gradient[at])).abs() < 0.02 * f64::from(largest),
            "{at}: {slope} and {}",
            gradient[at]
        );
    }
}
