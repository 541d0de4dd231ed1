//! Image files in, batches out.
