"""Exceptions. Their texts are the library's: what was found, where, what was expected, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Error(Exception):
    """Everything that Ocelli refuses. Subclasses are also the built-in exceptions that are usual for their cause."""

    path: Path | None = None
    """The file or folder that it is about, if there is one."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        for name, value in details.items():
            setattr(self, name, value)


class SettingError(Error, ValueError):
    """An argument that is outside of its range."""

    name: str
    """The argument."""
    value: str
    """The value found."""
    expected: str
    """The values allowed."""


class DataError(Error, ValueError):
    """Photos, tables of labels or splits that cannot be used."""


class ImageError(Error, ValueError):
    """An image that cannot be used."""


class ImageTypeError(ImageError, TypeError):
    """An object that is not an image, or an array of another type or shape."""


class ClassError(Error, ValueError):
    """Classes that are not those of the model or of the learner."""


class ModelError(Error, ValueError):
    """A file that is not a model, or a model that has not what is asked for."""


class WeightsError(Error):
    """Pretrained weights that are not on this machine."""


class NotFiniteError(Error, ArithmeticError):
    """Losses, gradients or outputs that became NaN or infinite."""


class NoLearningRateError(Error):
    """A curve of the learning rate finder that supports no learning rate."""


class NotEnoughMemoryError(Error, MemoryError):
    """Less memory than a step of training takes."""


class ExportError(Error):
    """A file that cannot be written, or does not compute what the model computes."""


class RunError(Error, RuntimeError):
    """A run folder that cannot be used."""


class FileError(Error, OSError):
    """Reading or writing failed."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that does not exist."""


class Stopped(Error):
    """A callback asked to stop. What was done is kept: `resume` continues."""


class BusyError(Error, RuntimeError):
    """The object is in use: by another thread, or by the call that a callback belongs to."""


class InternalError(Error, RuntimeError):
    """An error in Ocelli: please report it."""
