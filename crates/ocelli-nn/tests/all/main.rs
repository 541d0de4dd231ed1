//! Networks, operations and weights files; all in one program, which is quicker to build. `devices` is built for a
//! device: a program of its own.

mod backbones;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod families;
mod graph;
mod int8;
mod operations;
mod pickles;
mod precision;
mod random;
mod weights;
