//! How operations reach this project's kernels on Burn's CPU backend, Flex: [`KernelOp`], and [`apply`] to
//! call one.
//!
//! Maps are NCHW by shape; in memory those made here are channels-last, which the strides say. Maps in
//! another memory order are copied once. Maps and rows of features are f32 or bf16, and what is computed from
//! them has the same type; parameters, statistics and pooled features are f32.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex, GradientCheckpointingStrategy};
use burn::tensor::{AllocationProperty, Bytes, DType, FloatDType, Shape, Tensor};
use ocelli_kernels::{Buffer, Element, PackedConv2d, bf16};

use super::folded_conv::Packed;

/// An operation on `N` tensors by kernels. The value holds its options, such as a stride.
pub(super) trait KernelOp<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + Debug + Send + 'static;

    /// The output.
    fn forward(&self, inputs: [FlexTensor; N]) -> FlexTensor;

    /// The output, and what the backward pass needs: called where one of the inputs needs a gradient.
    fn forward_and_save(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradients of the inputs. Those that are not needed may be left out.
    fn backward(&self, saved: Self::Saved, incoming: Incoming<N>) -> [Option<FlexTensor>; N];

    /// Whether the backward pass itself adds [`Incoming::others`] to the gradient of the first input, which
    /// saves a pass over memory.
    fn adds_others(&self) -> bool {
        false
    }
}

/// What a backward pass starts from.
pub(super) struct Incoming<const N: usize> {
    /// The gradient of the output.
    pub gradient: FlexTensor,
    /// The gradients that have reached the first input by other paths, such as a shortcut around the
    /// operation.
    pub others: Option<FlexTensor>,
    /// Which inputs need a gradient.
    pub needed: [bool; N],
}

/// Runs an operation, recording it for the backward pass where an input has autodiff.
pub(super) fn apply<O: KernelOp<N>, const N: usize, const D: usize>(op: O, inputs: [Input; N]) -> Tensor<D> {
    match inputs.iter().find_map(Input::strategy) {
        None => Tensor::from_primitive::<Flex>(op.forward(inputs.map(Input::into_constant))),
        Some(GradientCheckpointingStrategy::Disabled) => {
            Tensor::from_primitive::<Autodiff<Flex, NoCheckpointing>>(record(op, inputs))
        }
        Some(GradientCheckpointingStrategy::Balanced) => {
            Tensor::from_primitive::<Autodiff<Flex, BalancedCheckpointing>>(record(op, inputs))
        }
    }
}

/// A tensor of any number of dimensions, as an operation takes it.
pub(super) enum Input {
    /// Without autodiff.
    Constant(FlexTensor),
    /// With autodiff.
    Autodiff(FloatTensor<Autodiff<Flex>>, GradientCheckpointingStrategy),
}

impl<const D: usize> From<Tensor<D>> for Input {
    fn from(tensor: Tensor<D>) -> Self {
        match tensor.device().gradient_checkpointing_strategy() {
            None => Self::Constant(primitive(tensor)),
            Some(strategy @ GradientCheckpointingStrategy::Disabled) => {
                let tensor = tensor.try_into_primitive::<Autodiff<Flex, NoCheckpointing>>();
                Self::Autodiff(tensor.expect(CHECKED), strategy)
            }
            Some(strategy @ GradientCheckpointingStrategy::Balanced) => {
                let tensor = tensor.try_into_primitive::<Autodiff<Flex, BalancedCheckpointing>>();
                Self::Autodiff(tensor.expect(CHECKED), strategy)
            }
        }
    }
}

impl Input {
    fn strategy(&self) -> Option<GradientCheckpointingStrategy> {
        match self {
            Self::Constant(_) => None,
            Self::Autodiff(_, strategy) => Some(*strategy),
        }
    }

    fn into_constant(self) -> FlexTensor {
        match self {
            Self::Constant(tensor) => tensor,
            Self::Autodiff(tensor, _) => tensor.into_primitive(),
        }
    }

    fn into_autodiff(self) -> FloatTensor<Autodiff<Flex>> {
        match self {
            Self::Constant(tensor) => <Autodiff<Flex> as AutodiffBackend>::from_inner(tensor),
            Self::Autodiff(tensor, _) => tensor,
        }
    }
}

/// Runs an operation, and registers its backward pass where an input needs a gradient.
fn record<O: KernelOp<N>, const N: usize>(op: O, inputs: [Input; N]) -> FloatTensor<Autodiff<Flex>> {
    let mut nodes = Vec::with_capacity(N);
    let inputs = inputs.map(|input| {
        let (tensor, node) = input.into_autodiff().into_parts();
        nodes.push(node);
        tensor
    });
    let nodes = nodes.try_into().unwrap_or_else(|_| unreachable!("a node for each input"));
    let step = KernelBackward::<O>(PhantomData);
    // Kernels are compute-bound to Burn: their outputs are saved and not computed again, whatever the
    // strategy.
    match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = op.forward_and_save(inputs);
            prepared.finish((op, saved), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(op.forward(inputs)),
    }
}

/// The backward pass of an operation.
#[derive(Debug)]
struct KernelBackward<O>(PhantomData<fn() -> O>);

impl<O: KernelOp<N>, const N: usize> Backward<Flex, N> for KernelBackward<O> {
    type State = (O, O::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let others = if ops.state.0.adds_others() { others(gradients, &ops) } else { None };
        let (op, saved) = ops.state;
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let needed = nodes.map(|node| node.is_some());
        let all = op.backward(saved, Incoming { gradient, others, needed });
        for (node, gradient) in nodes.into_iter().zip(all) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                register(gradients, node, gradient);
            }
        }
    }
}

/// Passes a gradient on to an input.
fn register(gradients: &mut Gradients, node: NodeId, gradient: FlexTensor) {
    gradients.register::<Flex>(node, gradient);
    REGISTERED.with_borrow_mut(|registered| {
        registered.insert(node);
        // Drops those of finished graphs: nodes are numbered in the order in which they are made.
        while registered.len() > REMEMBERED {
            registered.pop_first();
        }
    });
}

/// The gradients that have reached an operation's first input by other paths, for its kernels to add. An
/// intermediate result, such as `ops.node`, has no gradient any more once it is consumed; that of a parameter
/// would stay, and Burn adds to it.
fn others<S, const N: usize>(gradients: &mut Gradients, ops: &Ops<S, N>) -> Option<FlexTensor> {
    let input = ops.parents[0].as_ref()?;
    // Burn does not tell whether a node has a gradient. It adds those of one node on one thread.
    let is_met = input.requirement == ops.node.requirement
        && REGISTERED.with_borrow(|registered| registered.contains(&input.id));
    is_met.then(|| gradients.consume::<Flex>(input))
}

/// More nodes than any network's graph has. (A node that is forgotten gets its gradients added by Burn, which
/// rounds differently.)
const REMEMBERED: usize = 1 << 14;

thread_local! {
    /// The nodes that have got a gradient by an operation of this module.
    static REGISTERED: RefCell<BTreeSet<NodeId>> = RefCell::default();
}

/// The types that maps are stored in.
pub(super) trait Stored: Element {
    const DTYPE: DType;
    const FLOAT: FloatDType;
    fn storage(tensor: &FlexTensor) -> &[Self];
    /// A convolution that was packed for maps of this type.
    fn packed(packed: &Packed) -> &PackedConv2d<Self>;
    /// The reverse of [`packed`](Self::packed).
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

/// Evaluates an expression with `T` being the element type of that name.
macro_rules! by_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        if $dtype == burn::tensor::DType::BF16 {
            type $T = ocelli_kernels::bf16;
            $body
        } else {
            type $T = f32;
            $body
        }
    };
}
pub(super) use by_element;

/// Whether the kernels have this element type.
pub(super) fn has_element(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16)
}

/// Feature maps, NCHW by shape, NHWC in memory.
pub(super) struct Maps {
    pub tensor: FlexTensor,
    pub shape: [usize; 4],
}

impl Maps {
    pub fn new(tensor: FlexTensor) -> Self {
        let shape = dims(&tensor);
        Self { tensor, shape }
    }

    /// The images, and the pixels and channels of each.
    pub fn sizes(&self) -> [usize; 3] {
        let [images, channels, height, width] = self.shape;
        [images, height * width, channels]
    }

    pub fn length(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values in NHWC order; copied only where they have another memory order or element type.
    pub fn values<T: Stored>(&self) -> Cow<'_, [T]> {
        row_major(&self.tensor, self.tensor.layout().permute(&[0, 2, 3, 1]))
    }
}

/// Calls `with` with the values of maps on the CPU in NHWC order, in f32.
pub(crate) fn with_channels_last<R>(maps: Tensor<4>, with: impl FnOnce(&[f32]) -> R) -> R {
    with(&Maps::new(primitive(maps)).values::<f32>())
}

/// The values in the order of the shape; copied only where they have another memory order or element type.
pub(super) fn values<T: Stored>(tensor: &FlexTensor) -> Cow<'_, [T]> {
    row_major(tensor, tensor.layout().clone())
}

/// The same in the order of the memory, in which they are hardly ever copied.
pub(super) fn values_in_any_order<T: Stored>(tensor: &FlexTensor) -> Cow<'_, [T]> {
    let strides = tensor.layout().strides();
    let mut order: Vec<usize> = (0..strides.len()).collect();
    order.sort_by_key(|&dimension| Reverse(strides[dimension]));
    row_major(tensor, tensor.layout().permute(&order))
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

/// Maps of that shape, from their values in NHWC order.
pub(super) fn maps<T: Stored>(
    values: Buffer<T>,
    [images, channels, height, width]: [usize; 4],
) -> FlexTensor {
    let nhwc = Layout::contiguous(Shape::from([images, height, width, channels]));
    stored(values, nhwc.permute(&[0, 3, 1, 2]))
}

/// A tensor of that shape, from its values in row-major order.
pub(super) fn row_major_tensor<T: Stored>(values: Buffer<T>, shape: impl Into<Shape>) -> FlexTensor {
    stored(values, Layout::contiguous(shape.into()))
}

/// A tensor in memory that is reused once the tensor is dropped.
fn stored<T: Stored>(values: Buffer<T>, layout: Layout) -> FlexTensor {
    let bytes = bytes::Bytes::from_owner(values);
    FlexTensor::new(Bytes::from_shared(bytes, AllocationProperty::Other), layout, T::DTYPE)
}

pub(super) fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// The sizes of a tensor of `D` dimensions.
pub(super) fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    tensor.layout().shape().dims()
}

/// A tensor without autodiff.
pub(super) fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect(CHECKED)
}

/// The reverse of [`primitive`].
pub(super) fn constant<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(tensor)
}

/// A vector without autodiff, in memory that is reused.
pub(super) fn constant_vector(values: Buffer<f32>) -> Tensor<1> {
    let length = values.len();
    constant(row_major_tensor(values, [length]))
}

const CHECKED: &str = "the caller has checked the backend";
