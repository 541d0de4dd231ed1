//! CPU kernels of convolutional networks, on slices.
