//! Where items come from.

pub mod folder;
