//! The training loop and what it minimises.

pub(crate) mod fit;
pub(crate) mod gradients;
pub(crate) mod loss;
pub(crate) mod optimizer;
pub(crate) mod options;
pub(crate) mod weight_average;
