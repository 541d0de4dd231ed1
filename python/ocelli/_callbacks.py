"""Metrics and augmentations of one's own, as Python functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ocelli import _ocelli
from ocelli._arrays import floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def register_metric(
    name: str, function: Callable[[NDArray[np.float32], Any], float], *, higher_is_better: bool = True
) -> str:
    """Makes a function a metric, which can choose the best weights and has a column in the history.

    Its 95 % interval is the bootstrap's, which calls the function some 2,000 times. What the function raises ends the call
    that computes it.

    Args:
        name: Lower-case letters, digits and hyphens; not that of a built-in metric. Registering it again replaces it.
        function: Called with the probabilities, float32 of the shape (images, classes), and the targets: int64 of the shape
            (images,) with the index of each image's class, or for multi-label data bool of the shape (images, classes).
        higher_is_better: Whether higher values are better.

    Returns:
        The name, for `learner.keep_best(name)`, `learner.measure(name)` and `predictions.estimate(name)`.
    """

    _called(function)

    def computed(probabilities: bytearray, targets: Sequence[int], classes: int, is_multi_label: bool) -> float:
        import numpy as np

        expected: Any = np.asarray(targets, dtype=np.int64)
        if is_multi_label:
            expected = expected.reshape(-1, classes).astype(bool)
        return float(function(floats(probabilities, classes), expected))

    _ocelli.register_metric(name, computed, bool(higher_is_better))
    return name


def register_transform(
    name: str, function: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8] | None]
) -> str:
    """Makes a function a transform of training images, for `Augmentation.with_transform`.

    It is called in the worker threads that prepare images, one image at a time under the interpreter's lock: its time is
    that of one core, whatever the number of threads, and is spent again in each epoch unless features are cached. Random
    numbers must come from the generator that it is given, which follows from seed, epoch and image: runs are then the same
    with any number of threads, and after a restart.

    Args:
        name: Lower-case letters, digits and hyphens. Registering it again replaces it.
        function: Called with the pixels of a cropped and resized image, uint8 of the shape (size, size, 3), red, green and
            blue, and a `numpy.random.Generator`. It changes the pixels in place, or returns new ones of the same shape.

    Returns:
        The name.
    """

    _called(function)

    def changed(pixels: bytearray, size: int, seed: int) -> None:
        import numpy as np

        image = np.frombuffer(pixels, dtype=np.uint8).reshape(size, size, 3)
        found = function(image, np.random.default_rng(seed))
        if found is not None:
            if found.shape != image.shape or found.dtype != np.uint8:
                raise ValueError(
                    f"returned an array of {found.dtype} with the shape {found.shape}; "
                    f"it must be of uint8 with the shape {image.shape}"
                )
            image[:] = found

    _ocelli.register_transform(name, changed)
    return name


def _called(function: Callable[..., Any]) -> None:
    if not callable(function):
        raise TypeError(f"function is of the type {type(function).__name__}; it must be a function of arrays")
