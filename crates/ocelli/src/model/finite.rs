//! Checks that weights and outputs are finite.

use ocelli_nn::TensorFile;

use crate::error::{Error, Result};

/// Refuses tensors with a value that is NaN or infinite; `model` names them in the error.
pub(crate) fn check_finite(tensors: &TensorFile, model: &str) -> Result<()> {
    check_finite_of(tensors, tensors.names(), model)
}

/// As [`check_finite`], of the tensors of these names.
pub(crate) fn check_finite_of<'a>(
    tensors: &TensorFile,
    names: impl Iterator<Item = &'a str>,
    model: &str,
) -> Result<()> {
    for name in names {
        let values = tensors.get(name).map_or(&[][..], |tensor| &tensor.values);
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Error::NotFiniteTensor { model: model.to_owned(), tensor: name.to_owned(), value });
        }
    }
    Ok(())
}

/// Refuses logits with a value that is NaN or infinite; `model` and `photo` name them in the error.
pub(crate) fn check_outputs(logits: &[f32], classes: &[String], model: &str, photo: &str) -> Result<()> {
    match logits.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(class) => Err(Error::NotFiniteOutput {
            model: model.to_owned(),
            photo: photo.to_owned(),
            class: classes.get(class).cloned().unwrap_or_default(),
            value: logits[class],
        }),
    }
}
