//! How a network is trained: what training changes, where batches come from, one step, and the loop.

pub(crate) mod custom_loss;
pub(crate) mod exchange;
pub(crate) mod fit;
pub(crate) mod gradients;
pub(crate) mod infer;
pub(crate) mod input;
pub(crate) mod logistic;
pub(crate) mod loss;
pub(crate) mod micro_batches;
pub(crate) mod optimizer;
pub(crate) mod options;
pub(crate) mod shards;
pub(crate) mod state;
pub(crate) mod step;
pub(crate) mod weight_average;
