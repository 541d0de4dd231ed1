//! Recording of operations while a network runs in inference.
//!
//! Each operation says what it is and which tensors it takes ([`begin`]), runs, and shows its output
//! ([`end`]). Tensors are told apart by their storage, which the tape holds until the end, so that none is
//! reused. What an operation calls inside is not recorded.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::kernel::{primitive, values, values_in_any_order};
use super::operation::{Operation, Parameter};

/// What tells a tensor's values apart from all others while it is held: an address, where they begin, and how many
/// there are. (A slice has the storage of the whole.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Storage(usize, usize, usize);

/// What was recorded.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// The operations, in the order in which they ran.
    pub steps: Vec<Step>,
    /// The network's input, then each step's output.
    values: Vec<FlexTensor>,
    /// The values by their storage.
    known: HashMap<Storage, usize>,
    /// The names of the network's parameters by their storage.
    names: HashMap<Storage, String>,
    /// The first operation with an input that no recorded operation made.
    unknown: Option<&'static str>,
}

/// An operation that was recorded.
#[derive(Debug)]
pub(crate) struct Step {
    pub operation: Operation,
    /// Indices of values.
    pub inputs: Vec<usize>,
    /// The shape of its output for one image.
    pub shape: Vec<usize>,
}

/// An operation's input.
pub(super) struct Source(FlexTensor);

/// An operation that runs while it is recorded; `None` where nothing is recorded.
#[must_use = "`end` takes it"]
pub(super) struct Begun(Option<(Operation, Vec<usize>)>);

thread_local! {
    static IS_RECORDING: Cell<bool> = const { Cell::new(false) };
    static TAPE: RefCell<Tape> = RefCell::default();
}

impl Source {
    /// A tensor on the CPU without autodiff.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        Self(primitive(tensor.clone().inner()))
    }
}

/// A constant of an operation, under the name of the network's parameter that it is.
pub(super) fn parameter<const D: usize>(tensor: &Tensor<D>) -> Parameter {
    let tensor = Source::of(tensor).0;
    let name = TAPE.with_borrow(|tape| tape.names.get(&storage(&tensor)).cloned()).unwrap_or_default();
    let shape = tensor.layout().shape().as_slice().to_vec();
    Parameter { name, shape, values: Arc::new(values(&tensor).into_owned()) }
}

/// Begins an operation: where it is recorded, `describe` says which it is and which inputs it has.
pub(super) fn begin(describe: impl FnOnce() -> (Operation, Vec<Source>)) -> Begun {
    if !IS_RECORDING.get() {
        return Begun(None);
    }
    let (operation, sources) = describe();
    IS_RECORDING.set(false);
    let inputs = TAPE.with_borrow_mut(|tape| {
        sources.into_iter().map(|source| tape.input(operation.name(), &source.0)).collect()
    });
    Begun(Some((operation, inputs)))
}

/// Ends an operation.
pub(super) fn end<const D: usize>(begun: Begun, output: Tensor<D>) -> Tensor<D> {
    if let Begun(Some((operation, inputs))) = begun {
        TAPE.with_borrow_mut(|tape| tape.push(operation, inputs, Source::of(&output).0));
        IS_RECORDING.set(true);
    }
    output
}

/// Whether operations are recorded here: then those that are several in one run one by one.
pub(super) fn is_recording() -> bool {
    IS_RECORDING.get()
}

/// Runs `work` with an input, and records its operations; `names` are those of parameters by their tensors.
/// All tensors are on the CPU.
pub(crate) fn record<T>(
    input: Tensor<4>,
    names: HashMap<Storage, String>,
    work: impl FnOnce(Tensor<4>) -> T,
) -> (T, Tape) {
    /// Ends the recording, also where `work` panics.
    struct Stop;
    impl Drop for Stop {
        fn drop(&mut self) {
            IS_RECORDING.set(false);
            TAPE.take();
        }
    }
    let _stop = Stop;
    let first = Source::of(&input).0;
    let known = HashMap::from([(storage(&first), 0)]);
    TAPE.set(Tape { values: vec![first], known, names, ..Tape::default() });
    IS_RECORDING.set(true);
    let done = work(input);
    IS_RECORDING.set(false);
    (done, TAPE.take())
}

/// The storage of a tensor on the CPU.
pub(crate) fn storage_of<const D: usize>(tensor: &Tensor<D>) -> Storage {
    storage(&Source::of(tensor).0)
}

fn storage(tensor: &FlexTensor) -> Storage {
    let layout = tensor.layout();
    Storage(Arc::as_ptr(&tensor.data_arc()).addr(), layout.start_offset(), layout.num_elements())
}

impl Tape {
    /// The index of a value that the network computed; `None` where no recorded operation has made it.
    pub fn value_of<const D: usize>(&self, tensor: &Tensor<D>) -> Option<usize> {
        self.known.get(&storage_of(tensor)).copied()
    }

    /// The smallest and the largest number of the input, and of each step's output; NaN where one is NaN.
    pub fn ranges(&self) -> Vec<[f32; 2]> {
        self.values.iter().map(|tensor| range_of(&values_in_any_order::<f32>(tensor))).collect()
    }

    /// The first operation that took something that no recorded operation had made.
    pub fn unknown(&self) -> Option<&'static str> {
        self.unknown
    }

    /// The value that a tensor is. Where dimensions of one element were added or taken away since, a reshape
    /// comes before it.
    fn input(&mut self, operation: &'static str, tensor: &FlexTensor) -> usize {
        let Some(&value) = self.known.get(&storage(tensor)) else {
            self.unknown.get_or_insert(operation);
            return 0;
        };
        let known = &self.values[value];
        if tensor.layout() == known.layout() {
            return value;
        }
        if extents(tensor) != extents(known) {
            self.unknown.get_or_insert(operation);
            return 0;
        }
        let shape = tensor.layout().shape().as_slice()[1..].to_vec();
        self.steps.push(Step { operation: Operation::Reshape(shape.clone()), inputs: vec![value], shape });
        self.values.push(tensor.clone());
        self.values.len() - 1
    }

    fn push(&mut self, operation: Operation, inputs: Vec<usize>, output: FlexTensor) {
        let shape = output.layout().shape().as_slice()[1..].to_vec();
        self.steps.push(Step { operation, inputs, shape });
        self.known.insert(storage(&output), self.values.len());
        self.values.push(output);
    }
}

/// The smallest and the largest of these numbers; NaN where one is NaN.
fn range_of(values: &[f32]) -> [f32; 2] {
    // Side by side, so that the compiler takes vectors.
    const LANES: usize = 16;
    let (mut low, mut high, mut is_nan) =
        ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [false; LANES]);
    let mut add = |lane: usize, value: f32| {
        low[lane] = if value < low[lane] { value } else { low[lane] };
        high[lane] = if value > high[lane] { value } else { high[lane] };
        is_nan[lane] |= value.is_nan();
    };
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        (0..LANES).for_each(|lane| add(lane, chunk[lane]));
    }
    rest.iter().enumerate().for_each(|(lane, value)| add(lane, *value));
    if is_nan.contains(&true) {
        return [f32::NAN; 2];
    }
    [low.into_iter().fold(f32::INFINITY, f32::min), high.into_iter().fold(f32::NEG_INFINITY, f32::max)]
}

/// Where a tensor begins, and the sizes and strides of its dimensions of more than one element: the same for
/// two tensors of one storage that differ in dimensions of one element alone.
fn extents(tensor: &FlexTensor) -> (usize, Vec<(usize, isize)>) {
    let layout = tensor.layout();
    let all = layout.shape().iter().copied().zip(layout.strides().iter().copied());
    (layout.start_offset(), all.filter(|(size, _)| *size != 1).collect())
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn ranges_are_those_of_all_numbers() {
        for length in 0..70 {
            let mut values: Vec<f32> = (0..length).map(|at| (at as f32 * 2.3).sin()).collect();
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(range_of(&values), [low, high], "{length}");
            for at in 0..length {
                let value = std::mem::replace(&mut values[at], f32::NAN);
                assert!(range_of(&values).iter().all(|end| end.is_nan()), "{at} of {length}");
                values[at] = value;
            }
        }
    }
}
