//! Trains image classifiers by transfer learning.
