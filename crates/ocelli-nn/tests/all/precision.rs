//! Networks and operations in bf16 against Burn's operations in f32 on the same numbers, forward and backward; and
//! the same bits for any number of threads.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use ocelli_nn::op::{self, Activation, AffineNorm, ConvOptions, GlobalPool, Padding, Window};
use ocelli_nn::{Arch, Pass, Precision, Statistics, TensorFile};

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    super::random::random(shape, rand_distr::StandardNormal, seed, &Device::flex().autodiff())
}

/// Random numbers that bf16 holds exactly.
fn representable<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    random(shape, seed).cast(FloatDType::BF16).cast(FloatDType::F32).detach()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Two tensors are the same within a fraction of the spread of the second.
fn assert_close<const D: usize>(seen: Tensor<D>, wanted: Tensor<D>, share: f32, what: &str) {
    assert_eq!(seen.dims(), wanted.dims(), "{what}");
    let (seen, wanted) = (numbers(seen), numbers(wanted));
    let (low, high) = wanted.iter().fold((f32::MAX, f32::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let spread = (high - low).max(1e-6);
    for (index, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
        assert!((seen - wanted).abs() <= share * spread, "{what}: {seen} is not {wanted} at {index}");
    }
}

/// Runs an operation on maps in bf16 and its composition in f32, and compares outputs and all gradients.
fn compare<const O: usize>(
    what: &str,
    maps: &[Tensor<4>],
    parameters: &[Tensor<1>],
    ours: impl Fn(&[Tensor<4>], &[Tensor<1>]) -> Tensor<O>,
    burns: impl Fn(&[Tensor<4>], &[Tensor<1>]) -> Tensor<O>,
) {
    let leaves: Vec<_> = maps.iter().map(|maps| maps.clone().require_grad()).collect();
    let parameters: Vec<_> = parameters.iter().map(|vector| vector.clone().require_grad()).collect();
    let halves: Vec<_> = leaves.iter().map(|maps| maps.clone().cast(FloatDType::BF16)).collect();
    let both = [ours(&halves, &parameters), burns(&leaves, &parameters)].map(|output| {
        let output = output.cast(FloatDType::F32);
        let probe = representable(output.dims(), 77);
        let mut gradients = (output.clone() * probe).sum().backward();
        let of_maps: Vec<_> = leaves.iter().map(|maps| maps.grad_remove(&mut gradients).unwrap()).collect();
        let of_parameters: Vec<_> =
            parameters.iter().map(|vector| vector.grad_remove(&mut gradients).unwrap()).collect();
        (output.inner(), of_maps, of_parameters)
    });
    let [ours, burns] = both;
    assert_close(ours.0, burns.0, 1e-2, &format!("output of {what}"));
    for (at, (ours, burns)) in ours.1.into_iter().zip(burns.1).enumerate() {
        assert_close(ours, burns, 1e-2, &format!("gradient of maps {at} of {what}"));
    }
    for (at, (ours, burns)) in ours.2.into_iter().zip(burns.2).enumerate() {
        assert_close(ours, burns, 1e-2, &format!("gradient of parameter {at} of {what}"));
    }
}

#[test]
fn operations_in_bf16_agree_with_burns_in_f32() {
    let cases = [
        (8, 12, 1, ConvOptions { stride: 1, padding: Padding::Same, dilation: 1, groups: 1 }),
        (3, 16, 3, ConvOptions { stride: 2, padding: Padding::Same, dilation: 1, groups: 1 }),
        (6, 6, 5, ConvOptions { stride: 2, padding: Padding::Same, dilation: 1, groups: 6 }),
        (6, 9, 3, ConvOptions { stride: 1, padding: Padding::Symmetric([2, 1]), dilation: 2, groups: 3 }),
    ];
    for (from, to, kernel, conv) in cases {
        let shape = [to, from / conv.groups, kernel, kernel];
        let weight = representable([shape.iter().product()], 2);
        compare(
            &format!("{conv:?}"),
            &[representable([3, from, 9, 10], 1)],
            &[weight],
            |x, w| {
                let output = op::conv2d(x[0].clone(), w[0].clone().reshape(shape), conv);
                assert_eq!(output.dtype(), DType::BF16);
                output
            },
            |x, w| op::composed(|| op::conv2d(x[0].clone(), w[0].clone().reshape(shape), conv)),
        );
    }

    for from_batch in [true, false] {
        for activation in [Activation::None, Activation::Relu6, Activation::Silu] {
            let x = representable([3, 5, 4, 6], 4);
            let (mean, variance) = op::batch_statistics(x.clone().inner());
            let scale = |p: &[Tensor<1>]| AffineNorm {
                weight: p[0].clone(),
                bias: p[1].clone(),
                mean: mean.clone(),
                variance: variance.clone(),
                epsilon: 1e-3,
                from_batch,
            };
            compare(
                &format!("norm, batch {from_batch}, {activation:?}"),
                &[x.clone(), representable([3, 5, 4, 6], 5).mul_scalar(4.0)],
                &[random([5], 6), random([5], 7)],
                |x, p| op::batch_norm(x[0].clone(), scale(p), Some(x[1].clone()), activation),
                |x, p| {
                    op::composed(|| op::batch_norm(x[0].clone(), scale(p), Some(x[1].clone()), activation))
                },
            );
        }
    }

    compare(
        "layer norm",
        &[representable([3, 24, 4, 6], 4)],
        &[random([24], 6), random([24], 7)],
        |x, p| op::layer_norm(x[0].clone(), p[0].clone(), p[1].clone(), 1e-6),
        |x, p| op::composed(|| op::layer_norm(x[0].clone(), p[0].clone(), p[1].clone(), 1e-6)),
    );
    compare(
        "attention",
        &[representable([2, 3 * 16, 21, 1], 4)],
        &[],
        |x, _| op::attention(x[0].clone(), 2),
        |x, _| op::composed(|| op::attention(x[0].clone(), 2)),
    );

    let x = [representable([2, 7, 9, 10], 8)];
    let window = Window::new(3, 2).padding(1);
    compare(
        "maxima",
        &x,
        &[],
        |x, _| op::max_pool2d(x[0].clone(), window),
        |x, _| op::composed(|| op::max_pool2d(x[0].clone(), window)),
    );
    compare(
        "means",
        &x,
        &[],
        |x, _| op::average_pool2d(x[0].clone(), window, false),
        |x, _| op::composed(|| op::average_pool2d(x[0].clone(), window, false)),
    );
    for pool in [GlobalPool::Average, GlobalPool::MaximumAndAverage] {
        compare(
            "global pooling",
            &x,
            &[],
            |x, _| {
                let output = op::global_pool(x[0].clone(), pool);
                assert_eq!(output.dtype(), DType::F32, "pooled features are f32");
                output
            },
            |x, _| op::composed(|| op::global_pool(x[0].clone(), pool)),
        );
    }
    compare(
        "factors of channels",
        &x,
        &[random([14], 9)],
        |x, p| op::scale_channels(x[0].clone(), p[0].clone().reshape([2, 7])),
        |x, p| op::composed(|| op::scale_channels(x[0].clone(), p[0].clone().reshape([2, 7]))),
    );
}

fn weights() -> TensorFile {
    TensorFile::parse(ocelli_lite0::WEIGHTS, "embedded weights").unwrap()
}

#[test]
fn a_network_in_bf16_says_what_it_says_in_f32() {
    let network = Arch::EfficientNetLite0.published(&weights(), 1000, &Device::flex()).unwrap();
    let images = random([2, 3, 96, 96], 20).inner();
    let exact = network.infer(images.clone());
    let half = network.clone().with_precision(Precision::Bf16);
    assert_eq!(half.precision(), Precision::Bf16);
    let maps = half.infer_stages(images.clone(), 0, 3).maps;
    assert_eq!(maps.dtype(), DType::BF16);
    assert_close(half.infer(images.clone()), exact, 5e-2, "logits");

    let alone = numbers(half.infer(images.clone().narrow(0, 1, 1)));
    assert_eq!(alone, numbers(half.infer(images))[1000..], "an image alone, to the bit");
}

#[test]
fn every_way_of_pooling_takes_bf16() {
    use ocelli_nn::layer::Pool;
    let tokens = representable([2, 8, 10, 1], 22);
    for pool in
        [Pool::Average, Pool::MaximumAndAverage, Pool::Grid(1), Pool::ClassToken, Pool::ClassTokenAndAverage]
    {
        let pooled = pool.forward(tokens.clone().cast(FloatDType::BF16));
        assert_eq!(pooled.dtype(), DType::F32, "{pool:?}");
        assert_close(pooled, pool.forward(tokens.clone()), 1e-6, &format!("{pool:?}"));
    }
    let network = Arch::VitTinyPatch16.untrained(3, 2, 0, &Device::flex());
    let images = random([2, 3, 64, 64], 23).inner();
    let exact = network.infer(images.clone());
    assert_close(
        network.with_precision(Precision::Bf16).infer(images),
        exact,
        5e-2,
        "logits of a transformer",
    );
}

#[test]
fn training_in_bf16_has_the_same_bits_on_any_number_of_threads() {
    let network = Arch::EfficientNetLite0.transfer(&weights(), 2, 7, &Device::flex()).unwrap();
    let network = network.with_precision(Precision::Bf16).train_groups_from(0);
    let images = random([5, 3, 64, 64], 21).inner();
    for statistics in [Statistics::Batch, Statistics::Running] {
        let step = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let pass = Pass::train(statistics, 1);
                let logits = network.forward_from(0, images.clone(), &pass);
                let gradients = logits.clone().powf_scalar(2.0).sum().backward();
                struct All<'a>(&'a burn::tensor::Gradients, Vec<f32>);
                impl burn::module::ModuleVisitor for All<'_> {
                    fn visit_float<const D: usize>(&mut self, parameter: &burn::module::Param<Tensor<D>>) {
                        self.1.extend(parameter.val().grad(self.0).into_iter().flat_map(numbers));
                    }
                }
                let mut all = All(&gradients, numbers(logits));
                burn::module::Module::visit(&network, &mut all);
                all.1
            })
        };
        let (one, two) = (step(1), step(2));
        assert!(one.len() > 4_000_000, "there are gradients");
        assert!(one.iter().all(|x| x.is_finite()));
        assert!(one.iter().zip(&two).all(|(a, b)| a.to_bits() == b.to_bits()), "{statistics:?}");
    }
}
