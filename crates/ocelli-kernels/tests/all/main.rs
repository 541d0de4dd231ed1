//! Kernels against slow `f64` code, and what they promise; all in one program, which is quicker to build.

mod attention;
mod batch_norm;
mod common;
mod conv;
mod fused_block;
mod int8;
mod layer_norm;
mod pool;
mod promises;
