//! EfficientNet-Lite0's ImageNet weights, embedded.
