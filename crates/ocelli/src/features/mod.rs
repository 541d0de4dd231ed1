//! The output of frozen layers, computed once for every image, and kept in the cache folder.

pub(crate) mod cache;
pub(crate) mod prefix;
pub(crate) mod store;
