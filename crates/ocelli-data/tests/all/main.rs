//! From files to data sets and batches; all in one program, which is quicker to build. `limits` and `hostile` measure the
//! memory of their process, and are programs of their own.

mod augment;
mod changed;
mod common;
mod decode;
mod doubts;
mod files;
mod folder;
mod formats;
mod framing;
mod inspect;
mod layouts;
mod loader;
mod names;
mod orientation;
mod projects;
mod published;
mod quality;
mod random;
mod split;
mod table;
mod table_beside;
mod table_splits;
mod verdicts;
