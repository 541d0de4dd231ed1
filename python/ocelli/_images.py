"""What counts as an image, and how it is handed to the native code."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Iterator
from typing import Any

from ocelli._errors import ImageTypeError, SettingError

KINDS = "a path, the bytes of an image file, a PIL image, or a numpy array of uint8 with the shape (height, width, 3)"


def is_pil(image: Any) -> bool:
    """Whether it is a PIL image, without importing PIL."""
    return type(image).__module__.startswith("PIL.") and hasattr(image, "tobytes")


def is_array(image: Any) -> bool:
    """Whether it is an array of numpy, or something that becomes one."""
    return hasattr(image, "__array_interface__") or hasattr(image, "__array__")


def is_one(image: Any) -> bool:
    """Whether it is one image, rather than several."""
    if isinstance(image, (str, bytes, bytearray, memoryview)) or hasattr(image, "__fspath__") or is_pil(image):
        return True
    if not is_array(image):
        return False
    # An array of images has four axes, and one of paths holds texts or objects, as the columns of DataFrames do.
    axes = getattr(image, "ndim", 1)
    kind = getattr(getattr(image, "dtype", None), "kind", "O" if axes == 1 else "")
    return axes != 4 and not (kind and kind in "USOT")


def prepared(image: Any, where: str = "the image") -> str | bytes | tuple[int, int, Any]:
    """A path, the bytes of a file, or width, height and pixels."""
    if isinstance(image, (str, bytes)):
        return image
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if hasattr(image, "__fspath__"):
        path = os.fspath(image)
        return os.fsdecode(path)
    if is_pil(image):
        width, height = image.size
        return (width, height, image.convert("RGB").tobytes())
    if is_array(image):
        return _pixels(image, where)
    raise ImageTypeError(f"{where} is of the type {type(image).__name__}; it must be {KINDS}")


def _pixels(image: Any, where: str) -> tuple[int, int, Any]:
    import numpy as np

    array = np.asarray(image)
    if array.dtype != np.uint8:
        kind = f"{where} is an array of {array.dtype}"
        if array.dtype.kind == "f" and np.isnan(array).any():
            kind += " with NaN"
        raise ImageTypeError(
            f"{kind}; it must be of uint8, from 0 to 255 (values from 0 to 1: (array * 255).round().astype('uint8'))"
        )
    shape = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3:
        advice = ""
        if array.ndim == 3 and shape[2] == 4:
            advice = "; without its alpha channel: array[..., :3]"
        elif array.ndim == 3 and shape[0] in (1, 3):
            advice = "; with channels last: array.transpose(1, 2, 0)"
        raise ImageTypeError(f"{where} is an array of the shape {shape}; it must be (height, width, 3){advice}")
    if 0 in array.shape:
        raise ImageTypeError(f"{where} is an array of the shape {shape}; it must have pixels")
    return (array.shape[1], array.shape[0], np.ascontiguousarray(array))


def several(images: Any, name: str = "images") -> Iterator[Any]:
    """The images of a list, an array of images, a generator or another iterable. One that is exhausted is an error."""
    if isinstance(images, types.GeneratorType) and images.gi_frame is None:
        raise SettingError(
            f"{name} is a generator that has ended: it was closed, or read before; make a new one",
            name=name,
            value="a closed generator",
            expected="one that has not ended",
        )
    if not isinstance(images, Iterable):
        raise ImageTypeError(f"{name} is of the type {type(images).__name__}; it must be {KINDS}, or several of them")
    return iter(images)


def empty(name: str = "images") -> SettingError:
    """The error where there are none."""
    return SettingError(
        f"{name} is empty; it must be at least one image", name=name, value="empty", expected="at least one image"
    )
