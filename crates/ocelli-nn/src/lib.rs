//! Networks of image classification, on Burn.
