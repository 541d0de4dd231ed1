"""Recipes: the phases of transfer learning as a value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ocelli import _ocelli
from ocelli._settings import LearningRate, whole, wrong_type


class Recipe:
    """The phases of training a pretrained network with a new head.

    Args:
        preset: `auto` (a linear head, then all layers where that promises a gain), `linear` (the linear head alone, by logistic
            regression on cached features), `quick` (a head with a hidden layer on cached features), `lesson` (the phases of
            fast.ai's lesson with few epochs), `full` (with its numbers of epochs) or `fine-tune-N` (fastai 2's `fine_tune`).
        size: The image size in pixels at which it starts.
        augmented: Whether the data is augmented; if not, phases with augmentation are skipped.
        then_sizes: Progressive resizing: it continues at these sizes.
        head_epochs: Epochs of the head on cached features; 0 skips the phase.
        augmented_epochs: Epochs of the head on augmented images; 0 skips the phase.
        augmented_copies: Augmented copies of each image whose features are cached for these epochs.
        head_lr: The learning rate of the head. Default: the learning rate finder's.
        unfrozen_lrs: The learning rates in phases that train all layers.
        group_lr_ratio: The learning rate of a layer group divided by that of the group before it.
        tta: Test-time augmentation at the end: a number of views, `corners`, or 0 for none.
        time_limit: The seconds that all phases together may take: all layers are trained for as many epochs as end in time.
    """

    __slots__ = ("_augmentation", "_value")

    def __init__(
        self,
        preset: str = "auto",
        *,
        size: int = 224,
        augmented: bool | None = None,
        then_sizes: Iterable[int] = (),
        head_epochs: int | None = None,
        augmented_epochs: int | None = None,
        augmented_copies: int | None = None,
        head_lr: float | None = None,
        unfrozen_lrs: LearningRate | None = None,
        group_lr_ratio: float | None = None,
        tta: int | str | None = None,
        time_limit: float | None = None,
    ) -> None:
        settings: dict[str, Any] = {"then_sizes": [whole("then_sizes", each) for each in then_sizes]}
        given = {
            "augmented": augmented,
            "head_epochs": head_epochs,
            "augmented_epochs": augmented_epochs,
            "augmented_copies": augmented_copies,
            "head_lr": head_lr,
            "unfrozen_lrs": unfrozen_lrs,
            "group_lr_ratio": group_lr_ratio,
            "tta": tta,
            "time_limit": None if time_limit is None else float(time_limit),
        }
        settings |= {name: value for name, value in given.items() if value is not None}
        if tta == 0:
            settings["tta"] = None
        # What a run augments with where nothing else is said.
        self._augmentation = None if augmented is False else _ocelli.preset_augmentation(preset)
        self._value: dict[str, Any] = _ocelli.recipe(preset, whole("size", size), **settings)

    @property
    def phases(self) -> list[dict[str, Any]]:
        """The phases, in order, as in a run's `config.toml`."""
        return list(self._value["phases"])

    @property
    def epochs(self) -> int:
        """The epochs of all phases."""
        return _ocelli.recipe_epochs(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"{number}. {_phase(phase)}" for number, phase in enumerate(self.phases, 1)]
        return "\n".join([f"{self.epochs} epochs", *lines])


def _phase(phase: dict[str, Any]) -> str:
    kind = phase["phase"]
    details = ", ".join(f"{name} {value}" for name, value in phase.items() if name != "phase")
    return f"{kind}: {details}" if details else str(kind)


def recipe_value(recipe: object) -> dict[str, Any]:
    """The value of a recipe."""
    if isinstance(recipe, Recipe):
        return recipe._value
    raise wrong_type("recipe", recipe, "a Recipe, or the name of a preset")
