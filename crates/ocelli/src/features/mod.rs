//! The features of the frozen layers, computed once for every image and cached in a folder.

pub(crate) mod cache;
pub(crate) mod prefix;
mod rows;
pub(crate) mod store;
