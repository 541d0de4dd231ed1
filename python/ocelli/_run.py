"""Runs: from settings to a model in a run folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from ocelli import _ocelli
from ocelli._errors import SettingError
from ocelli._live import LivePage, shown, watch
from ocelli._model import Model
from ocelli._predictions import Predictions
from ocelli._progress import Observers
from ocelli._recipe import Recipe, recipe_value
from ocelli._records import Estimate, History
from ocelli._settings import Augmentation, PathLike, data_settings, train_options, whole


class RunResult:
    """The result of a run."""

    __slots__ = ("_found",)

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    @property
    def predictions(self) -> Predictions:
        """Predictions for the validation images by the model."""
        return Predictions(self._found["predictions"])

    @property
    def augmented(self) -> Predictions | None:
        """The same with test-time augmentation, where the recipe ends with it."""
        found = self._found["augmented"]
        return None if found is None else Predictions(found)

    @property
    def metric(self) -> str:
        """The metric that chose the best weights."""
        return str(self._found["metric"])

    @property
    def model_path(self) -> Any:
        """The model's file, a `pathlib.Path`."""
        return self._found["model"]

    @property
    def model(self) -> Model:
        """The model, loaded from its file."""
        return Model.load(self.model_path)

    @property
    def seconds(self) -> float:
        """Seconds of training, over all attempts."""
        return float(self._found["seconds"])

    @property
    def estimate(self) -> Estimate:
        """The metric that chose the best weights, with its 95 % interval."""
        return self.predictions.estimate(self.metric)

    def __repr__(self) -> str:
        return f"{self.metric} {self.estimate}; model {self.model_path}"


class Run:
    """A training with a run folder, which holds settings, checkpoints, history, model and results.

    Everything is as by `ocelli train`: the same settings give the same model, to the bit. Ctrl-C ends `run` after the
    current step with a checkpoint; `Run.resume` continues from it, also in another process.

    Args:
        data: The folder of photos, or a table of their labels.
        recipe: A `Recipe` or the name of a preset.
        arch: The backbone.
        size: Side of the images in pixels. Default: the backbone's own; for the recipes auto and linear nine sevenths of it.
        out: The run folder. Default: `runs/NAME-N`.
        cache: The folder to cache features in. Default: the command's, in the user's cache folder; `False` for none.
        augmentation: An `Augmentation`, its names, or `none`. Default: the preset's.
        metric: The metric that chooses the best weights. Default: accuracy, or F1 for multi-label data.
        patience: Ends a fit after this many epochs without improvement.
        table: How a table of labels is read, as in a run's `config.toml`.
        tensorboard: Whether TensorBoard's event file is written too.
        threads: Decoding threads; 0: one per core.
        progress: Whether the run shows its progress. Default: in notebooks and terminals.
        settings: The keyword arguments of `ImageData.from_folder` and of `Learner.set_options`.
    """

    __slots__ = ("_observers", "_page", "_run")

    _page: LivePage | None
    _run: _ocelli.Run

    def __init__(
        self,
        data: PathLike,
        *,
        recipe: Recipe | str = "auto",
        arch: str = "efficientnet_lite0",
        size: int | None = None,
        out: PathLike | None = None,
        cache: PathLike | bool | None = None,
        augmentation: str | Augmentation | None = None,
        metric: str | None = None,
        patience: int | None = None,
        table: dict[str, Any] | None = None,
        tensorboard: bool = False,
        threads: int = 0,
        progress: bool | None = None,
        **settings: Any,
    ) -> None:
        if size is not None:
            side = whole("size", size)
        elif isinstance(recipe, str):
            side = _ocelli.preset_size(recipe, arch)
        else:
            side = dict(_ocelli.archs()).get(arch, 224)
        of_training, of_data = _divided(settings)
        found = data_settings(size=side, augmentation=augmentation, **of_data)
        usual = recipe._augmentation if isinstance(recipe, Recipe) else _ocelli.preset_augmentation(recipe)
        if augmentation is None and usual is not None:
            found["augmentation"] = usual
        if isinstance(recipe, str):
            recipe = Recipe(recipe, size=side, augmented="augmentation" in found)
        found["recipe"] = recipe_value(recipe)
        found["fit_to_photos"] = size is None
        found["arch"] = arch
        found["train"] = train_options(**of_training)
        if metric is not None:
            found["metric"] = metric
        if patience is not None:
            found["patience"] = whole("patience", patience)
        if table is not None:
            found["table"] = table
        self._observers = Observers(progress)
        self._page = None
        self._run = _ocelli.Run.prepare(
            data, found, out, _cache(cache), whole("threads", threads), bool(tensorboard), "ocelli.Run"
        )

    @classmethod
    def resume(
        cls,
        folder: PathLike,
        *,
        out: PathLike | None = None,
        cache: PathLike | bool | None = None,
        data: PathLike | None = None,
        without_changed: bool = False,
        threads: int = 0,
        progress: bool | None = None,
    ) -> Run:
        """An interrupted run, to be continued from its last checkpoint with `run`.

        Args:
            folder: The run folder.
            out: Copies the run there first, and continues the copy.
            data: Where the photos are now, if they have been moved.
            without_changed: Continues without photos that are missing or have changed.
        """
        made = cls.__new__(cls)
        made._observers = Observers(progress)
        made._page = None
        made._run = _ocelli.Run.resume(
            folder, out, _cache(cache), whole("threads", threads), data, bool(without_changed)
        )
        return made

    def run(self) -> RunResult:
        """Runs the recipe, or what is left of it, and writes the model."""
        with self._observers as on_event:
            return RunResult(self._run.run(on_event))

    def watch(self, *, port: int = 0, browser: bool | None = None) -> LivePage:
        """Shows the run on a page in a browser: see `Learner.watch`."""
        if self._page is None or not self._page.is_open:
            self._page = watch(self.folder, port=port, browser=False)
        return shown(self._page, browser)

    def report(self, *, cache: PathLike | bool | None = None, threads: int = 0) -> Any:
        """Writes the report of the finished run into its folder: the page's file."""
        return self._run.report(_cache(cache), whole("threads", threads))

    @property
    def folder(self) -> Any:
        """The run folder, a `pathlib.Path`."""
        return self._run.folder

    @property
    def history(self) -> History:
        """The records of all epochs so far."""
        return History._of(self._run.history())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, as in `config.toml`."""
        return self._run.settings()

    def observe(self, callback: Callable[[dict[str, Any]], Any]) -> None:
        """Adds a callback for events: see `Learner.observe`."""
        self._observers.add(callback)

    def __repr__(self) -> str:
        return f"run in {self.folder}, {len(self.history)} epochs so far"


_OF_TRAINING = set(train_options.__kwdefaults__ or ())
_OF_DATA = set(data_settings.__kwdefaults__ or ()) - {"augmentation"}


def _divided(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of training and of data; one that is neither is an error."""
    for name in settings:
        if name not in _OF_TRAINING and name not in _OF_DATA:
            known: Iterable[str] = sorted([*_OF_TRAINING, *_OF_DATA])
            expected = f"one of {', '.join(known)}"
            raise SettingError(f"there is no setting {name}; it must be {expected}", name=name, value=name, expected=expected)
    of_training = {name: value for name, value in settings.items() if name in _OF_TRAINING}
    return of_training, {name: value for name, value in settings.items() if name in _OF_DATA}


def _cache(cache: PathLike | bool | None) -> str | None:
    if cache is False:
        return None
    if cache is None or cache is True:
        return os.fspath(_ocelli.default_cache())
    return os.fspath(cache)
