//! The values of a submission that has one column beside the id.

use std::str::FromStr;

use crate::error::{Error, Result};

/// What is written beside an id if that is one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Values {
    /// The names of the classes.
    Labels,
    /// The indices of the classes, from 0, in the order of the model's classes.
    Indices,
    /// The probability of the class that the column is named after, or of the second of two.
    Probabilities,
}

impl Values {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("labels", "Class names"),
        ("indices", "The index of the class, from 0, in the order of the model's classes"),
        (
            "probabilities",
            "The probability of the class that the column is named after, or of the second of two",
        ),
    ];
}

impl FromStr for Values {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "labels" => Ok(Self::Labels),
            "indices" => Ok(Self::Indices),
            "probabilities" => Ok(Self::Probabilities),
            _ => Err(Error::setting("values", name, "labels, indices or probabilities")),
        }
    }
}
