//! The dispatch table: the entry points of all kernels, compiled in this crate for both element types.
//! (Generic functions alone would be compiled again by each crate that uses them, and with that crate's
//! optimization level.)
//!
//! [`Element`](crate::Element) requires [`Compiled`], so that generic code reaches a kernel as
//! `T::dense_block(..)`. This is the crate's one ring of imports: the modules of the kernels use `Element`,
//! and `Element` names all of them here.

use crate::{
    attention, batch_norm,
    conv::{backward_weights, dense, depthwise, winograd},
    elementwise,
    isa::Isa,
    layer_norm, pool,
    simd::run_on,
};
use half::bf16;

macro_rules! compiled {
    ($($name:ident($kernel:ty) -> $output:ty;)*) => {
        pub trait Compiled: Sized {
            $(fn $name(isa: Isa, kernel: $kernel) -> $output;)*
        }
        compiled!(@ f32: $($name($kernel) -> $output;)*);
        compiled!(@ bf16: $($name($kernel) -> $output;)*);
    };
    (@ $element:ty: $($name:ident($kernel:ty) -> $output:ty;)*) => {
        impl Compiled for $element {
            $(
                #[inline(never)]
                fn $name(isa: Isa, kernel: $kernel) -> $output {
                    run_on(isa, kernel)
                }
            )*
        }
    };
}

compiled! {
    round(elementwise::Convert<'_, f32, Self>) -> ();
    widen(elementwise::Convert<'_, Self, f32>) -> ();
    scale(elementwise::Scale<'_, Self>) -> ();
    scale_sums(elementwise::ScaleSums<'_, Self>) -> ();
    dense_block(dense::BlockKernel<'_, Self>) -> ();
    round_weights(dense::RoundKernel<'_, Self>) -> ();
    depthwise_rows(depthwise::RowsKernel<'_, Self>) -> ();
    depthwise_weights(depthwise::WeightKernel<'_, Self>) -> ();
    copy_panels(backward_weights::PanelKernel<'_, Self>) -> ();
    sum_products(backward_weights::SumKernel<'_, Self>) -> ();
    winograd_filters(winograd::FilterKernel<'_, Self>) -> ();
    winograd_tiles(winograd::TileKernel<'_, Self>) -> ();
    winograd_outputs(winograd::OutputKernel<'_, Self>) -> ();
    row_of_maxima(pool::MaximumKernel<'_, Self>) -> bool;
    norm_sums(batch_norm::SumKernel<'_, Self>) -> [Vec<f64>; 2];
    norm_forward(batch_norm::ForwardKernel<'_, Self>) -> ();
    norm_backward(batch_norm::BackwardKernel<'_, Self>) -> [Vec<f64>; 2];
    layer_norm_forward(layer_norm::ForwardKernel<'_, Self>) -> ();
    layer_norm_backward(layer_norm::BackwardKernel<'_, Self>) -> [Vec<f32>; 2];
    attention_forward(attention::ForwardKernel<'_, Self>) -> ();
    attention_backward(attention::BackwardKernel<'_, Self>) -> ();
}
