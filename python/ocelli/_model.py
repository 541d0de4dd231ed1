"""Trained models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

from ocelli import _ocelli
from ocelli._arrays import floats
from ocelli._errors import Error, SettingError
from ocelli._images import empty, is_one, prepared, several
from ocelli._predictions import Prediction
from ocelli._settings import PathLike, number, whole

if TYPE_CHECKING:
    from ocelli._arrays import Floats

_AT_ONCE = 256
"""Images of a generator that are predicted together."""


class Model:
    """A trained classifier.

    A path, the bytes of an image file, a PIL image and a numpy array of uint8 with the shape (height, width, 3), red, green
    and blue, are images. Pixels of PIL images and arrays are taken as they are: upright, in sRGB. A photo's probabilities
    do not depend on the others, and are those of the command, to the bit.
    """

    __slots__ = ("_model",)

    _model: _ocelli.Model

    def __init__(self) -> None:
        raise TypeError("load a model with Model.load, or take a learner's with learner.to_model()")

    @classmethod
    def _of(cls, model: _ocelli.Model) -> Model:
        made = cls.__new__(cls)
        made._model = model
        return made

    @classmethod
    def load(cls, path: PathLike) -> Model:
        """Loads a model, given its file or the folder of its run."""
        return cls._of(_ocelli.Model.load(path))

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the probabilities."""
        return self._model.classes

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have any number of labels."""
        return self._model.is_multi_label

    @property
    def config(self) -> dict[str, Any]:
        """The configuration in the model's file: backbone, preprocessing, thresholds, how it was trained."""
        return self._model.config()

    @property
    def thresholds(self) -> list[float]:
        """The threshold of each class, for multi-label models."""
        return self._model.thresholds

    @property
    def parameters(self) -> int:
        """The number of the network's parameters."""
        return self._model.parameters

    @overload
    def predict(
        self, images: Sequence[Any], *, tta: int | str | None = None, mean: str = ..., on_error: str = ...
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self, images: Any, *, tta: int | str | None = None, mean: str = ..., on_error: str = ...
    ) -> Any: ...

    def predict(
        self, images: Any, *, tta: int | str | None = None, mean: str = "probabilities", on_error: str = "raise"
    ) -> Any:
        """Predicts one image, or several.

        Args:
            images: One image; a list, a tuple or an array (images, height, width, 3) of several; or a generator of them,
                which is read while its predictions are taken, some hundreds at a time.
            tta: Test-time augmentation of files: a number of views, 1 to 64, or `corners`.
            mean: What it averages: `probabilities` or `logits`.
            on_error: What to do with an image that cannot be used: `raise`, or `return` the exception in its place.

        Returns:
            A `Prediction`, a list of them, or, for a generator, an iterator of them.
        """
        if on_error not in ("raise", "return"):
            expected = "raise or return"
            raise SettingError(
                f"on_error is {on_error!r}; it must be {expected}", name="on_error", value=on_error, expected=expected
            )
        if is_one(images):
            return self._predicted([images], tta, mean, on_error)[0]
        iterator = several(images)
        if isinstance(images, Sequence) or hasattr(images, "shape"):
            given = list(iterator)
            if not given:
                raise empty()
            return self._predicted(given, tta, mean, on_error)
        return self._lazily(iterator, tta, mean, on_error)

    def _lazily(self, images: Iterator[Any], tta: int | str | None, mean: str, on_error: str) -> Iterator[Any]:
        found = False
        while given := list(islice(images, _AT_ONCE)):
            found = True
            yield from self._predicted(given, tta, mean, on_error)
        if not found:
            raise empty()

    def _predicted(self, images: list[Any], tta: int | str | None, mean: str, on_error: str) -> list[Any]:
        several_ = len(images) > 1
        ready: list[Any] = []
        refused: dict[int, Error] = {}
        for index, image in enumerate(images):
            try:
                ready.append(prepared(image, f"image {index + 1}" if several_ else "the image"))
            except Error as refusal:
                if on_error == "raise":
                    raise
                refused[index] = refusal
        values, unknown, errors = self._model.predict(ready, tta, mean)
        classes, multi_label = self.classes, self.is_multi_label
        thresholds, least = self._model.thresholds, self._model.lowest_probability
        rows = floats(values, len(classes))
        predicted: list[Any] = []
        for image, row, score, error in zip(ready, rows, unknown, errors):
            if error is not None:
                if on_error == "raise":
                    raise error
                predicted.append(error)
                continue
            path = image if isinstance(image, str) else None
            predicted.append(Prediction(path, classes, row, thresholds, least, score, multi_label))
        for index in sorted(refused):
            predicted.insert(index, refused[index])
        return predicted

    def predict_proba(self, images: Iterable[Any]) -> Floats:
        """The probabilities of several images at once: float32 of the shape (images, classes)."""
        given = list(several(images)) if not is_one(images) else [images]
        if not given:
            raise empty()
        values, _, errors = self._model.predict(_all_prepared(given), None, "probabilities")
        _raise_first(errors)
        return floats(values, len(self.classes))

    def features(self, images: Any) -> Floats:
        """The backbone's pooled features (embeddings), before the classifier.

        Args:
            images: One image, or several: see `predict`.

        Returns:
            float32 of the shape (features,) for one image, else (images, features).
        """
        one = is_one(images)
        given = [images] if one else list(several(images))
        if not given:
            raise empty()
        values, width, errors = self._model.features(_all_prepared(given))
        _raise_first(errors)
        rows = floats(values, width)
        return rows[0] if one else rows

    def calibrated(self) -> Model:
        """The model with calibrated probabilities: of predictions with 0.9 about nine in ten are right."""
        return self._of(self._model.calibrated())

    def min_probability(self, probability: float) -> Model:
        """The model that predicts no class where the most probable one has a lower probability than this, 0 to 1."""
        return self._of(self._model.min_probability(number("min_probability", probability)))

    def with_thresholds(self, thresholds: Sequence[float]) -> Model:
        """The model with the threshold of each class, for multi-label models."""
        return self._of(self._model.with_thresholds([number("thresholds", each) for each in thresholds]))

    def int8(self, photos: Iterable[PathLike] | None = None) -> Model:
        """The model that computes features in 8-bit integers: faster on processors without bf16, a little less exact.

        Static quantization of convolutional networks, on the CPU. Predictions change a little; `features` stay floats.

        Args:
            photos: Files on which the ranges of activations are found, some hundred at most. Default: training photos of
                the model's run; the ranges are then kept in the run's folder.
        """
        return self._of(self._model.int8(None if photos is None else list(photos)))

    @property
    def is_int8(self) -> bool:
        """Whether features are computed in 8-bit integers."""
        return self._model.is_int8

    def threads(self, threads: int) -> Model:
        """The model with this number of decoding threads; 0: one per core."""
        return self._of(self._model.threads(whole("threads", threads)))

    def save(self, path: PathLike) -> None:
        """Writes the model to a file."""
        self._model.save(path)

    def export(
        self,
        path: PathLike,
        *,
        format: str = "onnx",
        preprocessing: str = "normalize",
        output: str = "probabilities",
        precision: str = "f32",
        calibrated: bool = False,
        photos: Iterable[PathLike] | None = None,
    ) -> dict[str, Any]:
        """Writes the model for other engines. The file is run and compared with the model first; one that computes something
        else is not written.

        Args:
            path: The file.
            format: `onnx`, or `tflite` for LiteRT.
            preprocessing: `normalize` (8-bit pixels of the model's size in), `all` (8-bit pixels of any size in; ONNX only)
                or `none` (normalised floats in).
            output: `probabilities`, `logits` or `features`.
            precision: How an ONNX file stores weights: `f32`, `f16` or `int8`.
            calibrated: Whether probabilities are calibrated.
            photos: Photos to compare on. Default: the validation photos of the model's run.

        Returns:
            How the file agrees with the model.
        """
        files = None if photos is None else [each for each in photos]
        return self._model.export(path, format, preprocessing, output, precision, bool(calibrated), files)

    def __repr__(self) -> str:
        config = self.config
        classes = self.classes
        names = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
        size = config["preprocessing"]["size"]
        return f"{config['arch']} at {size} px, {len(classes)} classes: {names}"


def _all_prepared(images: list[Any]) -> list[Any]:
    return [prepared(image, f"image {number}") for number, image in enumerate(images, 1)]


def _raise_first(errors: Iterable[Error | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
