//! The operations on Burn's CPU backend, Flex, by this project's kernels, with their own backward passes.
//!
//! Maps are NCHW by shape; in memory those made here are channels-last, which the strides say. Maps that lie
//! otherwise are copied once. Maps and rows of features are f32 or bf16, and what is computed from them has the
//! same type; parameters, statistics and pooled features are f32.

mod attention;
mod chain;
mod conv;
mod convert;
mod join;
mod layer_norm;
mod linear;
mod norm;
mod pool;
mod scale;
mod step;

pub(super) use attention::attention;
pub(super) use chain::{conv_chain, trained_chain};
pub(super) use conv::{Folded, conv2d, conv2d_with_bias, conv2d_with_statistics};
pub(super) use convert::to_dtype;
pub(super) use join::join;
pub(super) use layer_norm::layer_norm;
pub(super) use linear::linear;
pub(super) use norm::{batch_norm, batch_statistics};
pub(super) use pool::{average_pool2d, max_pool2d, pool};
pub(super) use scale::scale_channels;
pub(super) use step::{adamw_step, sgd_step, sum_of_squares};

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, ops::FloatTensorOps};
use burn::tensor::{AllocationProperty, Bytes, DType, FloatDType, Shape, Tensor};
use conv::Packed;
use ocelli_kernels::{Buffer, Element, PackedConv2d, bf16};

/// Takes tracked tensors apart.
fn parts<const N: usize>(tensors: [FloatTensor<Autodiff<Flex>>; N]) -> ([FlexTensor; N], [NodeGuard; N]) {
    let mut nodes = Vec::with_capacity(N);
    let tensors = tensors.map(|tensor| {
        let (tensor, node) = tensor.into_parts();
        nodes.push(node);
        tensor
    });
    (tensors, nodes.try_into().unwrap_or_else(|_| unreachable!("a node for each tensor")))
}

/// An operation's output, with its backward pass and the state for it where any of its inputs is tracked.
fn tracked<C: CheckpointStrategy, B: Backward<Flex, N>, const N: usize>(
    backward: B,
    nodes: [NodeGuard; N],
    state: B::State,
    output: FlexTensor,
) -> FloatTensor<Autodiff<Flex>> {
    match backward.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// The types that maps are stored in.
trait Stored: Element {
    const DTYPE: DType;
    const FLOAT: FloatDType;
    fn storage(tensor: &FlexTensor) -> &[Self];
    /// What was packed for maps of this type.
    fn packed(packed: &Packed) -> &PackedConv2d<Self>;
    /// The other way round.
    fn pack(packed: PackedConv2d<Self>) -> Packed;
}

impl Stored for f32 {
    const DTYPE: DType = DType::F32;
    const FLOAT: FloatDType = FloatDType::F32;
    fn storage(tensor: &FlexTensor) -> &[Self] {
        tensor.storage()
    }
    fn packed(packed: &Packed) -> &PackedConv2d<Self> {
        match packed {
            Packed::F32(packed) => packed,
            Packed::Bf16(_) => unreachable!("maps are f32"),
        }
    }
    fn pack(packed: PackedConv2d<Self>) -> Packed {
        Packed::F32(packed)
    }
}

impl Stored for bf16 {
    const DTYPE: DType = DType::BF16;
    const FLOAT: FloatDType = FloatDType::BF16;
    fn storage(tensor: &FlexTensor) -> &[Self] {
        tensor.storage()
    }
    fn packed(packed: &Packed) -> &PackedConv2d<Self> {
        match packed {
            Packed::Bf16(packed) => packed,
            Packed::F32(_) => unreachable!("maps are bf16"),
        }
    }
    fn pack(packed: PackedConv2d<Self>) -> Packed {
        Packed::Bf16(packed)
    }
}

/// Evaluates an expression with `T` being the element type of a tensor.
macro_rules! by_element {
    ($tensor:expr, $T:ident => $body:expr) => {
        if $tensor.dtype() == burn::tensor::DType::BF16 {
            type $T = ocelli_kernels::bf16;
            $body
        } else {
            type $T = f32;
            $body
        }
    };
}
use by_element;

/// Whether the kernels know the element type.
pub(super) fn has_element(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16)
}

/// Feature maps, NCHW by shape, NHWC in memory.
struct Maps {
    tensor: FlexTensor,
    shape: [usize; 4],
}

impl Maps {
    fn new(tensor: FlexTensor) -> Self {
        let shape = four(&tensor);
        Self { tensor, shape }
    }

    /// The images, and the pixels and channels of each.
    fn sizes(&self) -> [usize; 3] {
        let [images, channels, height, width] = self.shape;
        [images, height * width, channels]
    }

    fn length(&self) -> usize {
        self.shape.iter().product()
    }

    /// The numbers in NHWC order; copied only where they lie in another, or are of another type.
    fn values<T: Stored>(&self) -> Cow<'_, [T]> {
        row_major(&self.tensor, self.tensor.layout().permute(&[0, 2, 3, 1]))
    }
}

/// The numbers in the order of the shape; copied only where they lie in another, or are of another type.
fn values<T: Stored>(tensor: &FlexTensor) -> Cow<'_, [T]> {
    row_major(tensor, tensor.layout().clone())
}

fn row_major<T: Stored>(tensor: &FlexTensor, layout: Layout) -> Cow<'_, [T]> {
    if tensor.dtype() == T::DTYPE && is_row_major(&layout) {
        let start = layout.start_offset();
        return Cow::Borrowed(&T::storage(tensor)[start..start + layout.num_elements()]);
    }
    let length = layout.num_elements();
    let tensor = Flex::float_cast(tensor.clone().with_layout(layout), T::FLOAT).to_contiguous();
    Cow::Owned(T::storage(&tensor)[..length].to_vec())
}

/// Whether elements follow each other; dimensions of one element may have any stride.
fn is_row_major(layout: &Layout) -> bool {
    let mut expected = 1;
    for (&length, &stride) in layout.shape().iter().zip(layout.strides()).rev() {
        if length != 1 && stride != expected {
            return false;
        }
        expected *= length as isize;
    }
    true
}

/// Maps of that shape, from their numbers in NHWC order.
fn maps<T: Stored>(values: Buffer<T>, [images, channels, height, width]: [usize; 4]) -> FlexTensor {
    let nhwc = Layout::contiguous(Shape::from([images, height, width, channels]));
    stored(values, nhwc.permute(&[0, 3, 1, 2]))
}

fn matrix<T: Stored>(values: Buffer<T>, shape: [usize; 2]) -> FlexTensor {
    stored(values, Layout::contiguous(Shape::from(shape)))
}

/// A tensor in memory that is used again once the tensor is dropped.
fn stored<T: Stored>(values: Buffer<T>, layout: Layout) -> FlexTensor {
    let bytes = bytes::Bytes::from_owner(values);
    FlexTensor::new(Bytes::from_shared(bytes, AllocationProperty::Other), layout, T::DTYPE)
}

fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

fn four(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

fn two(tensor: &FlexTensor) -> [usize; 2] {
    tensor.layout().shape().dims()
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("the caller has checked the backend")
}

/// Hands on a gradient, where one is wanted.
fn register(gradients: &mut Gradients, node: Option<NodeId>, gradient: FloatTensor<Flex>) {
    if let Some(node) = node {
        gradients.register::<Flex>(node, gradient);
        REGISTERED.with_borrow_mut(|registered| {
            registered.insert(node);
            // Those of graphs that are done with: nodes are numbered in the order in which they are made.
            while registered.len() > REMEMBERED {
                registered.pop_first();
            }
        });
    }
}

/// Whether an operation of this module has handed on a gradient to a node: Burn does not tell, and adds gradients that
/// meet at a node on one thread.
fn is_registered(node: NodeId) -> bool {
    REGISTERED.with_borrow(|registered| registered.contains(&node))
}

/// The gradients that have reached an operation's first input by other ways, that of a shortcut around it, say, for its
/// kernels to add. What is a result, as `ops.node` is, no longer has a gradient once it is consumed; that of a parameter
/// would stay.
fn others<S, const N: usize>(gradients: &mut Gradients, ops: &Ops<S, N>) -> Option<FlexTensor> {
    let input = ops.parents[0].as_ref()?;
    let is_met = input.requirement == ops.node.requirement && is_registered(input.id);
    is_met.then(|| gradients.consume::<Flex>(input))
}

/// More nodes than any network's graph has. (What is forgotten is added by Burn, which rounds otherwise.)
const REMEMBERED: usize = 1 << 14;

thread_local! {
    static REGISTERED: RefCell<BTreeSet<NodeId>> = RefCell::default();
}
