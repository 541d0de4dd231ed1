"""scikit-learn's interface: a classifier of images, and their features as a transformer.

scikit-learn itself is needed here, and nowhere else in the package.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ocelli import _ocelli
from ocelli._arrays import floats
from ocelli._data import ImageData
from ocelli._errors import ImageError, SettingError
from ocelli._images import empty, is_one, prepared, several
from ocelli._learner import Learner
from ocelli._model import Model
from ocelli._recipe import Recipe

__all__ = ["ImageClassifier", "ImageFeatures"]


def _listed(images: Any) -> list[Any]:
    """Images as a list: paths, bytes, PIL images, arrays, or an array of images or of paths."""
    if is_one(images) and getattr(images, "ndim", 0) not in (1, 2):
        raise SettingError(
            "X is one image; it must be several, such as [image]", name="X", value="one image", expected="several"
        )
    if getattr(images, "ndim", 0) == 2:
        images = [row[0] if len(row) == 1 else row for row in images]
    given = [str(each) if isinstance(each, np.str_) else each for each in several(images, "X")]
    if not given:
        raise empty("X")
    return given


def _png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file of red, green and blue values."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    stride = 3 * width
    rows = b"".join(b"\0" + pixels[at : at + stride] for at in range(0, stride * height, stride))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


class _Files:
    """Images as files: those in memory are written, without loss, to a temporary folder."""

    def __init__(self, images: Sequence[Any]) -> None:
        self.folder: str | None = None
        self.paths: list[str] = []
        for number, image in enumerate(images, 1):
            ready = prepared(image, f"image {number}")
            if isinstance(ready, str):
                self.paths.append(ready)
                continue
            content = ready if isinstance(ready, bytes) else _png(ready[0], ready[1], bytes(ready[2]))
            if self.folder is None:
                self.folder = tempfile.mkdtemp(prefix="ocelli-")
            path = os.path.join(self.folder, f"{number:08}.image")
            Path(path).write_bytes(content)
            self.paths.append(path)

    def __enter__(self) -> list[str]:
        return self.paths

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder)


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of images on a pretrained backbone.

    `X` is a list or an array of images: paths, bytes of image files, PIL images, or arrays of uint8 with the shape (height,
    width, 3); `y` has one class per image. Nothing of what is given to `fit` is held out there, so that cross-validation
    sees what it asks for.

    Args:
        arch: The backbone.
        size: Side of the images in pixels.
        recipe: A preset (`auto`, `linear`, `quick`, `lesson`, `full`, `fine-tune-N`) or a `Recipe`; `quick` trains a head on cached
            features.
        augmentation: Random changes of training images, by name. `None`: none.
        batch_size: Images per step.
        seed: Decides the head's first weights, dropout and the order of images.
        threads: Decoding threads; 0: one per core.
        cache: The folder to cache features in, by content, which fits of cross-validation share. `None`: none.
    """

    def __init__(
        self,
        arch: str = "efficientnet_lite0",
        *,
        size: int = 224,
        recipe: str | Recipe = "quick",
        augmentation: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
        threads: int = 0,
        cache: str | None = None,
    ) -> None:
        self.arch = arch
        self.size = size
        self.recipe = recipe
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.seed = seed
        self.threads = threads
        self.cache = cache

    def fit(self, X: Any, y: Any) -> ImageClassifier:
        """Trains on images and their classes."""
        images, classes = _listed(X), np.asarray(y)
        if classes.ndim != 1:
            raise SettingError(
                f"y has the shape {classes.shape}; it must have one class per image",
                name="y",
                value=str(classes.shape),
                expected="(images,)",
            )
        self.classes_, codes = np.unique(classes, return_inverse=True)
        # Names whose order is that of `classes_`.
        width = len(str(len(self.classes_)))
        names = [f"{code:0{width}}" for code in codes]
        with _Files(images) as paths:
            data = ImageData.from_paths(
                paths,
                names,
                size=self.size,
                valid=False,
                augmentation=self.augmentation,
                batch_size=self.batch_size,
                seed=self.seed,
                threads=self.threads,
            )
            learner = Learner.pretrained(self.arch, data, cache=self.cache, progress=False)
            learner.run_recipe(self.recipe)
            self.model_: Model = learner.to_model()
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class of `classes_`: (images, classes)."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(_listed(X)).astype(np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each image."""
        best = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[best]
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # A model is pickled as its file.
        state: dict[str, Any] = super().__getstate__()
        state = dict(state)
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.safetensors")
                state["model_"].save(path)
                state["model_"] = Path(path).read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        content = state.get("model_")
        if isinstance(content, bytes):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.safetensors")
                Path(path).write_bytes(content)
                state["model_"] = Model.load(path)
        super().__setstate__(state)


class ImageFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The features of images by a pretrained backbone, as the first step of a pipeline.

    `X` is as for `ImageClassifier`. There is nothing to fit.

    Args:
        arch: The backbone.
        size: Side of the images in pixels. `None`: the backbone's own.
        layer: Pools the output of another stage than the last: its number, from 1, or the name of a part of the network.
        threads: Decoding threads; 0: one per core.
        cache: The folder to cache features of files in, by content. `None`: they are computed each time.
    """

    def __init__(
        self,
        arch: str = "efficientnet_lite0",
        *,
        size: int | None = None,
        layer: str | None = None,
        threads: int = 0,
        cache: str | None = None,
    ) -> None:
        self.arch = arch
        self.size = size
        self.layer = layer
        self.threads = threads
        self.cache = cache

    def fit(self, X: Any, y: Any = None) -> ImageFeatures:
        """Does nothing."""
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """float32 of the shape (images, features)."""
        images = [prepared(image, f"image {number}") for number, image in enumerate(_listed(X), 1)]
        embedder = self._embedder()
        paths = [image for image in images if isinstance(image, str)]
        if len(paths) == len(images):
            values, width, skipped = embedder.embed(paths, self.cache)
            for path, reason in skipped:
                raise ImageError(f"{path}: {reason}", path=path)
            return floats(values, width)
        values, width, errors = embedder.embed_memory(images)
        for error in errors:
            if error is not None:
                raise error
        return floats(values, width)

    def _embedder(self) -> _ocelli.Embedder:
        settings = (self.arch, self.size, self.layer, self.threads)
        if getattr(self, "_made", (None,))[0] != settings:
            self._made = (settings, _ocelli.Embedder.pretrained(*settings))
        return self._made[1]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_made", None)
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.no_validation = True
        return tags


