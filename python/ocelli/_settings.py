"""Keyword arguments as the settings of the library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Union

from ocelli import _ocelli
from ocelli._errors import SettingError

PathLike = Union[str, "os.PathLike[str]"]
"""A path: `str` or `pathlib.Path`."""
LearningRate = Union[float, "tuple[float, float]", "tuple[float, float, float]"]
"""One learning rate for all layers; (low, high), from early layers to the head by a constant factor; or one each for early
layers, late layers and head."""


def wrong_type(name: str, value: object, expected: str) -> SettingError:
    """The error for an argument of another type."""
    found = type(value).__name__
    return SettingError(f"{name} is of the type {found}; it must be {expected}", name=name, value=found, expected=expected)


def whole(name: str, value: Any) -> int:
    """A whole number; 3.0 and numpy's integers are such too."""
    try:
        found = int(value)
        if found == value and not isinstance(value, (str, bool)) and 0 <= found < 1 << 64:
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    expected = "a whole number from 0 to 2^64 - 1"
    raise SettingError(f"{name} is {value!r}; it must be {expected}", name=name, value=repr(value), expected=expected)


def number(name: str, value: Any) -> float:
    """A finite number."""
    try:
        found = float(value)
        if found - found == 0 and not isinstance(value, str):
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    expected = "a finite number"
    raise SettingError(f"{name} is {value!r}; it must be {expected}", name=name, value=repr(value), expected=expected)


class Augmentation:
    """Random changes of training images that keep their class.

    Args:
        names: One of `none`, `basic`, `side-on` (everyday photos), `top-down` (aerial images), `trivial-augment`,
            `rand-augment`, `random-resized-crop`, `color-jitter`, `stretch`, `blur`, `cutout`; or several joined by `+`.
        max_zoom: Zooms in by up to this factor; 1.1 is usual.
    """

    __slots__ = ("_value",)

    def __init__(self, names: str = "side-on", *, max_zoom: float | None = None) -> None:
        self._value: dict[str, Any] = _ocelli.augmentation(names)
        if max_zoom is not None:
            self._value["zoom"] = (1.0, number("max_zoom", max_zoom))

    def with_transform(self, name: str) -> Augmentation:
        """This augmentation, and then a transform of one's own: see `register_transform`."""
        made = Augmentation.__new__(Augmentation)
        made._value = _ocelli.with_transform(self._value, name)
        return made

    def __repr__(self) -> str:
        return f"Augmentation({self._value})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Augmentation) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]


def augmentation_of(value: str | Augmentation | None) -> dict[str, Any] | None:
    if value is None or value == "none":
        return None
    return (value if isinstance(value, Augmentation) else Augmentation(value))._value


def valid_split(
    valid: float | PathLike | Iterable[int] | bool | None, fold: tuple[int, int] | None
) -> Any:
    """The library's value for the validation split."""
    if fold is not None:
        if valid is not None:
            raise SettingError(
                "valid and fold are both given; give one", name="fold", value=str(fold), expected="given without valid"
            )
        which, folds = fold
        return {"fold": {"folds": whole("fold", folds), "fold": whole("fold", which)}}
    if valid is None:
        return None
    if valid is False:
        return "nothing"
    if isinstance(valid, (str, os.PathLike)):
        return {"file": os.fspath(valid)}
    if isinstance(valid, (int, float)):
        return {"fraction": number("valid", valid)}
    return {"items": [whole("valid", item) for item in valid]}


def data_settings(
    *,
    size: int,
    valid: Any = None,
    fold: tuple[int, int] | None = None,
    augmentation: str | Augmentation | None = None,
    framing: str = "crop",
    filter: str = "bicubic",
    balanced_sampling: bool = False,
    groups: str | None = None,
    group_column: str | None = None,
    batch_size: int = 64,
    seed: int = 0,
    bad_images: str = "few",
    max_pixels: int | None = None,
    decisions: PathLike | None = None,
    class_folders: bool = False,
) -> dict[str, Any]:
    """The settings of data, as in a run's `config.toml`."""
    settings: dict[str, Any] = {
        "size": whole("size", size),
        "framing": _ocelli.framing(framing),
        "filter": filter,
        "balanced_sampling": bool(balanced_sampling),
        "batch_size": whole("batch_size", batch_size),
        "seed": whole("seed", seed),
        "bad_images": bad_images,
        "class_folders": bool(class_folders),
    }
    found = valid_split(valid, fold)
    if found is not None:
        settings["valid_split"] = found
    changes = augmentation_of(augmentation)
    if changes is not None:
        settings["augmentation"] = changes
    if groups is not None:
        settings["groups"] = {"pattern": groups}
    if group_column is not None:
        settings["groups"] = {"column": group_column}
    if max_pixels is not None:
        settings["max_pixels"] = whole("max_pixels", max_pixels)
    if decisions is not None:
        settings["decisions"] = os.fspath(decisions)
    return settings


def train_options(
    *,
    optimizer: str = "sgd",
    weight_decay: float = 1.0,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
    class_weights: str | Iterable[float] = "equal",
    mixup: float | None = None,
    cutmix: float | None = None,
    max_grad_norm: float | None = None,
    accumulate_steps: int = 1,
    ema_decay: float | None = None,
    swa_start: int | None = None,
    train_bn: bool = False,
) -> dict[str, Any]:
    """The options of training, as in a run's `config.toml`."""
    weights: Any = class_weights
    if not isinstance(class_weights, str):
        weights = {"given": [number("class_weights", weight) for weight in class_weights]}
    options: dict[str, Any] = {
        "optimizer": _ocelli.optimizer(optimizer),
        "weight_decay": _ocelli.weight_decay(number("weight_decay", weight_decay)),
        "loss": {
            "label_smoothing": number("label_smoothing", label_smoothing),
            "focal_gamma": number("focal_gamma", focal_gamma),
            "class_weights": weights,
        },
        "accumulate_steps": whole("accumulate_steps", accumulate_steps),
        "train_bn": bool(train_bn),
    }
    if mixup is not None and cutmix is not None:
        raise SettingError(
            "mixup and cutmix are both given; give one", name="cutmix", value=str(cutmix), expected="given without mixup"
        )
    if mixup is not None:
        options["mix"] = {"mixup": {"alpha": number("mixup", mixup)}}
    if cutmix is not None:
        options["mix"] = {"cut-mix": {"alpha": number("cutmix", cutmix)}}
    if max_grad_norm is not None:
        options["max_grad_norm"] = number("max_grad_norm", max_grad_norm)
    if ema_decay is not None:
        options["ema_decay"] = number("ema_decay", ema_decay)
    if swa_start is not None:
        options["swa_start"] = whole("swa_start", swa_start)
    return options
