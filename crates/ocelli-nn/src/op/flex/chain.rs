//! Convolutions one after another, with norms by running statistics folded in: in use, and in training.

use std::sync::{Arc, OnceLock};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};
use ocelli_kernels::{
    Activation, Buffer, Conv2dShape, FusedStage, PackedConv2d, bf16, fused_block, fused_block_backward,
    fused_block_with_feature_maps, has_fused_block_backward,
};

use super::super::{Geometry, TrainedLink};
use super::conv::{Folded, Packed, conv_shape, output_of};
use super::{Maps, Stored, by_element, four, maps, parts, primitive, register, stored, values, vector};

/// Folded convolutions, each with its activation, one after another; see [`conv_chain`](super::super::conv_chain).
pub fn conv_chain(input: Tensor<4>, links: &[(Arc<Folded>, Activation)], residual: bool) -> Tensor<4> {
    let input = primitive(input);
    let filters = links.iter().map(|(folded, activation)| Filter {
        packed: &folded.packed,
        weight: folded.weight_shape,
        conv: folded.conv,
        activation: *activation,
    });
    let filters: Vec<Filter<'_>> = filters.collect();
    Tensor::from_primitive::<Flex>(by_element!(input, T => run::<T>(input, &filters, residual)))
}

/// A packed convolution and how it is applied.
struct Filter<'a> {
    packed: &'a Packed,
    weight: [usize; 4],
    conv: Geometry,
    activation: Activation,
}

fn run<T: Stored>(input: FlexTensor, filters: &[Filter<'_>], residual: bool) -> FlexTensor {
    let x = Maps::new(input);
    let links = links::<T>(x.shape, filters);
    let output = output_of(&links[links.len() - 1].shape);
    let mut y = Buffer::take(output.iter().product());
    fused_block(&links, &x.values(), residual, &mut y);
    maps(y, output)
}

fn links<'a, T: Stored>(image: [usize; 4], filters: &[Filter<'a>]) -> Vec<FusedStage<'a, T>> {
    let shapes = shapes(image, filters.iter().map(|filter| (filter.weight, filter.conv)));
    let link = |(filter, shape): (&Filter<'a>, Conv2dShape)| FusedStage {
        conv: T::packed(filter.packed),
        shape,
        activation: filter.activation,
    };
    filters.iter().zip(shapes).map(link).collect()
}

/// The shapes of convolutions with these weights one after another.
fn shapes(mut image: [usize; 4], links: impl Iterator<Item = ([usize; 4], Geometry)>) -> Vec<Conv2dShape> {
    let next = |(weight, conv)| {
        let shape = conv_shape(image, weight, conv);
        image = output_of(&shape);
        shape
    };
    links.map(next).collect()
}

/// Convolutions in a chain that is trained, at most; the operation takes as many, and nothing for those that lack.
const MOST: usize = 3;

/// [`trained_chain`](super::super::trained_chain), where the kernels have a backward pass of it.
pub fn trained_chain(input: &Tensor<4>, links: &[TrainedLink], residual: bool) -> Option<Tensor<4>> {
    let weights = links.iter().map(|link| (link.weight.dims(), link.conv));
    let shapes = shapes(input.dims(), weights);
    let kinds: Vec<_> = shapes.into_iter().zip(links.iter().map(|link| link.activation)).collect();
    let pays = match input.dtype() {
        DType::BF16 => has_fused_block_backward::<bf16>(&kinds),
        _ => has_fused_block_backward::<f32>(&kinds),
    };
    if links.len() > MOST || !pays {
        return None;
    }
    let norms = links.iter().map(|link| Norm {
        conv: link.conv,
        activation: link.activation,
        mean: values(&primitive(link.norm.mean.clone())).into(),
        variance: values(&primitive(link.norm.variance.clone())).into(),
        epsilon: link.norm.epsilon,
    });
    let call = Call { norms: norms.collect(), residual, kept: None };
    let nothing = || Tensor::<1>::zeros([1], &input.device().inner()).into_dispatch();
    let mut tensors = links.iter().flat_map(|link| {
        let TrainedLink { weight, norm, .. } = link.clone();
        [weight.into_dispatch(), norm.weight.into_dispatch(), norm.bias.into_dispatch()]
    });
    let mut next = || tensors.next().unwrap_or_else(nothing);
    let parameters = [(); 3 * MOST].map(|()| next());
    let [w1, g1, b1, w2, g2, b2, w3, g3, b3] = parameters;
    let input = input.clone().into_dispatch();
    Some(Tensor::from_dispatch(Dispatch::ocelli_chain(input, w1, g1, b1, w2, g2, b2, w3, g3, b3, call)))
}

/// What a chain needs besides its tensors.
#[derive(Debug, Clone)]
pub struct Call {
    norms: Vec<Norm>,
    residual: bool,
    /// Kept from the forward pass for the backward pass, where there will be one.
    kept: Option<Arc<OnceLock<Kept>>>,
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
struct Kept {
    packed: Vec<Packed>,
    /// The maps between the convolutions, in NHWC order.
    maps: Vec<FlexTensor>,
}

/// A convolution's running statistics, and what follows it.
#[derive(Debug, Clone)]
struct Norm {
    conv: Geometry,
    activation: Activation,
    mean: Arc<[f32]>,
    variance: Arc<[f32]>,
    epsilon: f64,
}

impl Norm {
    fn inverse_deviation(&self, channel: usize) -> f64 {
        1.0 / (f64::from(self.variance[channel]) + self.epsilon).sqrt()
    }

    /// The norm as a factor of the convolution's weights, and a bias.
    fn folded(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let channels = self.mean.len();
        let scale: Vec<f64> =
            (0..channels).map(|c| f64::from(weight[c]) * self.inverse_deviation(c)).collect();
        let shift = |c: usize| f64::from(bias[c]) - f64::from(self.mean[c]) * scale[c];
        ((0..channels).map(|c| scale[c] as f32).collect(), (0..channels).map(|c| shift(c) as f32).collect())
    }
}

#[backend_extension(Flex, Autodiff)]
pub trait ChainKernels: Backend {
    /// Maps, and for each convolution its weight and its norm's weight and bias.
    #[allow(clippy::too_many_arguments)] // one for each gradient
    fn ocelli_chain(
        input: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        g1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        g2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        w3: FloatTensor<Self>,
        g3: FloatTensor<Self>,
        b3: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self>;
}

impl ChainKernels for Flex {
    fn ocelli_chain(
        input: FlexTensor,
        w1: FlexTensor,
        g1: FlexTensor,
        b1: FlexTensor,
        w2: FlexTensor,
        g2: FlexTensor,
        b2: FlexTensor,
        w3: FlexTensor,
        g3: FlexTensor,
        b3: FlexTensor,
        call: Call,
    ) -> FlexTensor {
        let parameters = [[w1, g1, b1], [w2, g2, b2], [w3, g3, b3]];
        by_element!(input, T => forward::<T>(input, &parameters, &call))
    }
}

impl<C: CheckpointStrategy> ChainKernels for Autodiff<Flex, C> {
    fn ocelli_chain(
        input: FloatTensor<Self>,
        w1: FloatTensor<Self>,
        g1: FloatTensor<Self>,
        b1: FloatTensor<Self>,
        w2: FloatTensor<Self>,
        g2: FloatTensor<Self>,
        b2: FloatTensor<Self>,
        w3: FloatTensor<Self>,
        g3: FloatTensor<Self>,
        b3: FloatTensor<Self>,
        call: Call,
    ) -> FloatTensor<Self> {
        let (tensors, nodes) = parts([input, w1, g1, b1, w2, g2, b2, w3, g3, b3]);
        let [input, w1, g1, b1, w2, g2, b2, w3, g3, b3] = tensors;
        let kept_input = input.clone();
        let parameters =
            [[&w1, &g1, &b1], [&w2, &g2, &b2], [&w3, &g3, &b3]].map(|link| link.map(Clone::clone));
        let run = |call| Flex::ocelli_chain(input, w1, g1, b1, w2, g2, b2, w3, g3, b3, call);
        match ChainBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let call = Call { kept: Some(Arc::default()), ..call };
                prepared.finish((kept_input, parameters, call.clone()), run(call))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(run(call)),
        }
    }
}

/// Weight of a convolution, weight and bias of its norm.
type Parameters = [FlexTensor; 3];

fn forward<T: Stored>(input: FlexTensor, parameters: &[Parameters; MOST], call: &Call) -> FlexTensor {
    let packed = pack::<T>(&input, parameters, call);
    let filters = filters(parameters, call, &packed);
    let Some(kept) = &call.kept else {
        return run::<T>(input, &filters, call.residual);
    };
    let x = Maps::new(input);
    let links = links::<T>(x.shape, &filters);
    let output = output_of(&links[links.len() - 1].shape);
    let mut y = Buffer::take(output.iter().product());
    let between = fused_block_with_feature_maps(&links, &x.values(), call.residual, &mut y);
    let kept_map = |map: Buffer<T>| {
        let length = map.len();
        stored(map, Layout::contiguous([length].into()))
    };
    let between = between.into_iter().map(kept_map).collect();
    kept.set(Kept { packed, maps: between }).expect("the chain runs once");
    maps(y, output)
}

fn pack<T: Stored>(input: &FlexTensor, parameters: &[Parameters; MOST], call: &Call) -> Vec<Packed> {
    let weights = call.norms.iter().zip(parameters).map(|(norm, [weight, ..])| (four(weight), norm.conv));
    let shapes = shapes(four(input), weights);
    let pack = |((norm, [weight, factor, bias]), shape): ((&Norm, &Parameters), &Conv2dShape)| {
        let (scale, bias) = norm.folded(&values(factor), &values(bias));
        T::pack(PackedConv2d::pack(shape, &values(weight), Some(&scale), Some(&bias)))
    };
    call.norms.iter().zip(parameters).zip(&shapes).map(pack).collect()
}

fn filters<'a>(parameters: &[Parameters], call: &Call, packed: &'a [Packed]) -> Vec<Filter<'a>> {
    let filter = |((norm, [weight, ..]), packed): ((&Norm, &Parameters), &'a Packed)| Filter {
        packed,
        weight: four(weight),
        conv: norm.conv,
        activation: norm.activation,
    };
    call.norms.iter().zip(parameters).zip(packed).map(filter).collect()
}

#[derive(Debug)]
struct ChainBackward;

impl Backward<Flex, 10> for ChainBackward {
    type State = (FlexTensor, [Parameters; MOST], Call);

    fn backward(self, ops: Ops<Self::State, 10>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (input, parameters, call) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let dy = gradients.consume::<Flex>(&ops.node);
        by_element!(input, T => {
            let (dx, all) = backward::<T>(input, &parameters, &call, dy, nodes[0].is_some());
            dx.into_iter().for_each(|dx| register(gradients, nodes[0], dx));
            for (node, gradient) in nodes[1..].iter().zip(all.into_iter().flatten()) {
                register(gradients, *node, gradient);
            }
        });
    }
}

/// The gradients with respect to the input, if it is wanted, and to the parameters.
fn backward<T: Stored>(
    input: FlexTensor,
    parameters: &[Parameters; MOST],
    call: &Call,
    dy: FlexTensor,
    to_input: bool,
) -> (Option<FlexTensor>, Vec<Parameters>) {
    let (x, dy) = (Maps::new(input), Maps::new(dy));
    let kept = call.kept.as_ref().and_then(|kept| kept.get()).expect("the forward pass has kept it");
    let links = links::<T>(x.shape, &filters(parameters, call, &kept.packed));
    let between: Vec<&[T]> = kept.maps.iter().map(T::storage).collect();
    let folded: Vec<(Vec<f32>, Vec<f32>)> = call
        .norms
        .iter()
        .zip(parameters)
        .map(|(norm, [weight, factor, bias])| {
            let (scale, _) = norm.folded(&values(factor), &values(bias));
            (by_output(&values(weight), &scale), scale)
        })
        .collect();
    let weights: Vec<&[f32]> = folded.iter().map(|(weights, _)| &weights[..]).collect();
    let mut dx = to_input.then(|| Buffer::<T>::take(x.length()));
    let found = fused_block_backward(
        &links,
        &weights,
        &x.values(),
        &between,
        call.residual,
        &dy.values(),
        dx.as_deref_mut(),
    );
    let all = found.into_iter().zip(&call.norms).zip(parameters).zip(&folded).map(
        |(((found, norm), [weight, ..]), (_, scale))| {
            let values = values::<f32>(weight);
            let row = values.len() / scale.len();
            // What the norm saw, summed with its gradient, is in the gradient of the weights before it.
            let factor = |channel: usize| {
                let (values, found_row) = (&values[channel * row..], &found.weights[channel * row..]);
                let products = values.iter().zip(found_row).take(row);
                let seen: f64 = products.map(|(weight, found)| f64::from(*weight) * f64::from(*found)).sum();
                let shift = f64::from(norm.mean[channel]) * f64::from(found.bias[channel]);
                ((seen - shift) * norm.inverse_deviation(channel)) as f32
            };
            let factors = (0..scale.len()).map(factor).collect();
            let mut dw = Buffer::<f32>::take(values.len());
            dw.copy_from_slice(&by_output(&found.weights, scale));
            let layout = Layout::contiguous(weight.layout().shape().clone());
            [stored(dw, layout), vector(factors), vector(found.bias)]
        },
    );
    let all = all.collect();
    (dx.map(|dx| maps(dx, x.shape)), all)
}

/// Weights of each output times its factor.
fn by_output(weights: &[f32], factors: &[f32]) -> Vec<f32> {
    let row = weights.len() / factors.len();
    let scaled =
        weights.chunks_exact(row).zip(factors).flat_map(|(row, factor)| row.iter().map(move |w| w * factor));
    scaled.collect()
}
