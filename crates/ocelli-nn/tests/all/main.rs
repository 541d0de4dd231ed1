//! Networks, operations and weights files; all in one program, which is quicker to build. `families` draws weights, for
//! which no other test may draw at the same time, and `devices` is built for a device: they are programs of their own.

mod backbones;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod graph;
mod int8;
mod operations;
mod pickles;
mod precision;
mod weights;
