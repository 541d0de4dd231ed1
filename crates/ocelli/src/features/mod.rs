//! The features of the frozen layers, computed once for every image and cached in a folder.

pub(crate) mod cache;
pub(crate) mod prefix;
pub(crate) mod store;
