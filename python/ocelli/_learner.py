"""The learner: trains a classifier on photos by transfer learning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ocelli import _ocelli
from ocelli._data import ImageData
from ocelli._live import LivePage, of_learner, shown
from ocelli._model import Model
from ocelli._predictions import Interpretation, Predictions
from ocelli._progress import Observers
from ocelli._recipe import Recipe, recipe_value
from ocelli._records import EpochRecord, History, LrCurve, record
from ocelli._settings import LearningRate, PathLike, number, train_options, whole, wrong_type

Callback = Callable[[dict[str, Any]], Any]
"""Receives events as dictionaries; returning `False` asks to stop after the current step."""


class Learner:
    """Trains a classifier on photos by transfer learning.

    A new learner has a pretrained backbone, which is frozen, and a new head. Long calls release the interpreter's lock, so
    that learners train in several threads; one learner does one thing at a time. Ctrl-C ends a call after the current step
    with `KeyboardInterrupt`; `resume` then continues to the same result, to the bit, as without the interruption.
    """

    __slots__ = ("_learner", "_observers", "_options", "_page")

    _learner: _ocelli.Learner
    _observers: Observers
    _options: dict[str, Any]
    _page: LivePage | None

    def __init__(self) -> None:
        raise TypeError("make a learner with Learner.pretrained")

    @classmethod
    def pretrained(
        cls,
        arch: str,
        data: ImageData,
        *,
        weights: PathLike | None = None,
        cache: PathLike | None = None,
        precision: str | None = None,
        int8_features: bool = False,
        progress: bool | None = None,
    ) -> Learner:
        """A learner on a pretrained backbone. Nothing is downloaded: `ocelli pull` does that.

        Args:
            arch: The backbone: `efficientnet_lite0`, whose weights are built in, or another one of `ocelli.archs()`.
            data: The photos.
            weights: A file with the backbone's weights. Default: the published ones.
            cache: The folder to cache features in, by content. Default: they are only kept in memory.
            precision: The precision of activations, `f32` or `bf16`. Default: the fastest on this processor.
            int8_features: Whether cached features of training images are computed in 8-bit integers, on the CPU: faster, a
                little less exact. Those of validation images are floats, as the saved model gives them.
            progress: Whether calls show their progress. Default: in notebooks and terminals.
        """
        made = cls.__new__(cls)
        made._learner = _ocelli.Learner.pretrained(arch, _data(data), weights, cache)
        made._observers = Observers(progress)
        made._options = {}
        made._page = None
        if precision is not None:
            made._learner.set_precision(precision)
        if int8_features:
            made._learner.set_int8_features(True)
        return made

    def fit(self, epochs: int, lr: LearningRate) -> History:
        """Trains at a constant learning rate.

        Each epoch goes once over the training images and is then validated.

        Args:
            epochs: The number of epochs, from 1 on.
            lr: The learning rate above 0, (low, high), or one each for early layers, late layers and head.
        """
        return self._fit(lr, _ocelli.schedule("epochs", whole("epochs", epochs)))

    def fit_one_cycle(
        self,
        epochs: int,
        lr: LearningRate,
        *,
        pct_start: float = 0.25,
        div: float = 25.0,
        div_final: float = 1e5,
        momentum: tuple[float, float] = (0.95, 0.85),
    ) -> History:
        """Trains for one cycle of two half cosines, with fastai 2's defaults.

        Args:
            epochs: The number of epochs.
            lr: The peak learning rate, as in `fit`.
            pct_start: The fraction of steps in which the learning rate rises, 0 to 1.
            div: The peak divided by the first learning rate.
            div_final: The peak divided by the last learning rate.
            momentum: The momentum at the ends and at the peak.
        """
        shape = {
            "pct_start": number("pct_start", pct_start),
            "div": number("div", div),
            "div_final": number("div_final", div_final),
            "momentum": tuple(number("momentum", each) for each in momentum),
        }
        return self._fit(lr, _ocelli.schedule("one-cycle", whole("epochs", epochs), **shape))

    def fit_sgdr(self, cycles: int, lr: LearningRate, *, cycle_len: int = 1, cycle_mult: int = 1) -> History:
        """Trains with cosine annealing and restarts (SGDR).

        Args:
            cycles: The number of cycles.
            lr: The learning rate at the start of each cycle, as in `fit`.
            cycle_len: Epochs of the first cycle.
            cycle_mult: Each cycle is this many times as long as the one before.
        """
        shape = {"cycle_len": whole("cycle_len", cycle_len), "cycle_mult": whole("cycle_mult", cycle_mult)}
        return self._fit(lr, _ocelli.schedule("sgdr", whole("cycles", cycles), **shape))

    def fine_tune(self, epochs: int) -> History:
        """Trains as fastai 2's `fine_tune` does: one epoch of the head, then `epochs` epochs of all layers."""
        epochs = whole("epochs", epochs)
        with self._observers as on_event:
            return History._of(self._learner.fine_tune(epochs, on_event), self._observers.cell())

    def resume(self) -> History:
        """Continues a fit that Ctrl-C, a callback or an error has ended; empty if there is none."""
        with self._observers as on_event:
            return History._of(self._learner.resume(on_event), self._observers.cell())

    def _fit(self, lr: LearningRate, schedule: dict[str, Any]) -> History:
        with self._observers as on_event:
            return History._of(self._learner.fit(lr, schedule, on_event), self._observers.cell())

    def run_recipe(self, recipe: Recipe | str) -> Predictions:
        """Runs a recipe, and keeps the best weights of all phases.

        Args:
            recipe: A `Recipe`, or the name of a preset: `auto`, `linear`, `quick`, `lesson`, `full`, `fine-tune-N`.

        Returns:
            The predictions for the validation images.
        """
        if isinstance(recipe, str):
            recipe = Recipe(recipe, size=self.data.size, augmented=self.data._data.augmentation is not None)
        value = recipe_value(recipe)
        with self._observers as on_event:
            return Predictions(self._learner.run_recipe(value, on_event))

    def lr_find(
        self, *, start_lr: LearningRate = 1e-5, end_lr: float = 10.0, steps: int = 100, batch_size: int | None = None
    ) -> LrCurve:
        """Runs the learning rate finder on a copy of the network; the learner is not changed.

        Args:
            start_lr: The learning rates of the first step.
            end_lr: The head's learning rate after the last step.
            steps: The number of steps, 20 to 100,000.
            batch_size: Images per step. Default: that of training.
        """
        images = None if batch_size is None else whole("batch_size", batch_size)
        with self._observers as on_event:
            return LrCurve(
                self._learner.lr_find(start_lr, number("end_lr", end_lr), whole("steps", steps), images, on_event)
            )

    def freeze(self) -> None:
        """Freezes the backbone, so that only the head is trained."""
        self._learner.freeze()

    def freeze_to(self, group: int) -> None:
        """Freezes the layer groups before `group`: 0 (early layers), 1 (late layers) or 2 (head)."""
        self._learner.freeze_to(whole("group", group))

    def unfreeze(self) -> None:
        """Unfreezes all layers; features are no longer cached."""
        self._learner.unfreeze()

    def cache_features(self, *, augmented_copies: int | None = None) -> None:
        """Computes the features of the frozen layers once for every image, and trains on them from now on.

        This is `precompute=True` of fastai 0.7. Augmentation then has no effect, except with `augmented_copies`.
        `stream_images` is the way back.

        Args:
            augmented_copies: Caches the features of this many augmented copies of each training image, of which each epoch
                uses one.
        """
        copies = None if augmented_copies is None else whole("augmented_copies", augmented_copies)
        with self._observers as on_event:
            self._learner.cache_features(copies, on_event)

    def stream_images(self) -> None:
        """Starts every epoch from the images again, with augmentation."""
        self._learner.stream_images()

    def validate(self) -> Predictions:
        """Predicts the validation images."""
        return self.predict("valid")

    def predict(self, part: str = "valid") -> Predictions:
        """Predicts the images of a part of the split: `train`, `valid` or `test`."""
        with self._observers as on_event:
            return Predictions(self._learner.predict(part, on_event))

    def tta(self, views: int | str = 4, *, mean: str = "probabilities") -> Predictions:
        """Predicts the validation images with test-time augmentation.

        Args:
            views: The number of augmented views of each image, 1 to 64, or `corners`.
            mean: What is averaged: `probabilities` or `logits`.
        """
        with self._observers as on_event:
            return Predictions(self._learner.tta(views, mean, on_event))

    def interpret(self) -> Interpretation:
        """What is right and wrong in the predictions of the validation images."""
        return self.validate().interpret()

    def save(self, path: PathLike) -> None:
        """Writes the model to a file, with everything that is needed to use it."""
        self._learner.save(path)

    def load(self, path: PathLike) -> None:
        """Takes the weights of a model of the same backbone and classes: its file, or the folder of its run."""
        self._learner.load(path)

    def to_model(self) -> Model:
        """The current model; further training does not change it."""
        return Model._of(self._learner.to_model())

    def set_options(
        self,
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
    ) -> None:
        """Sets the options of later fits: those given, and the defaults of all others.

        Args:
            optimizer: `sgd` (with momentum 0.9), `nesterov`, `adamw`, `rmsprop`, `adagrad` or `lion`.
            weight_decay: Decoupled: each step shrinks a weight by the factor `1 - lr * weight_decay`.
            label_smoothing: 0 to below 1; 0.1 is usual.
            focal_gamma: The exponent of the focal loss: 0, or 1 to 10.
            class_weights: `equal`, `balanced`, or one weight per class.
            mixup: The alpha of Mixup, above 0.
            cutmix: The alpha of CutMix, above 0.
            max_grad_norm: Clips the norm of all gradients together.
            accumulate_steps: Batches per optimizer step.
            ema_decay: The decay of an exponential moving average of the weights, 0 to below 1.
            swa_start: Stochastic weight averaging from this epoch of a fit on, counted from 0.
            train_bn: Whether the backbone's trainable batch norms use the batch's statistics.
        """
        self._learner.set_options(
            train_options(
                optimizer=optimizer,
                weight_decay=weight_decay,
                label_smoothing=label_smoothing,
                focal_gamma=focal_gamma,
                class_weights=class_weights,
                mixup=mixup,
                cutmix=cutmix,
                max_grad_norm=max_grad_norm,
                accumulate_steps=accumulate_steps,
                ema_decay=ema_decay,
                swa_start=swa_start,
                train_bn=train_bn,
            )
        )

    def measure(self, metric: str) -> None:
        """Computes a metric after every epoch, besides losses and accuracy."""
        self._learner.measure(metric)

    def keep_best(self, metric: str | None = "accuracy", *, patience: int | None = None) -> None:
        """Saves the weights of the best epoch by this metric, for `return_to_best`; `None` saves none.

        Args:
            metric: A metric's name.
            patience: Ends a fit after this many epochs without improvement.
        """
        self._learner.keep_best(metric, None if patience is None else whole("patience", patience))

    def return_to_best(self) -> None:
        """Restores the best weights at the current image size."""
        self._learner.return_to_best()

    @property
    def best(self) -> EpochRecord | None:
        """The best epoch so far at the current image size."""
        found = self._learner.best()
        return None if found is None else record(found)

    @property
    def history(self) -> History:
        """The records of all epochs so far."""
        return History._of(self._learner.history())

    @property
    def data(self) -> ImageData:
        """The photos."""
        return ImageData._of(self._learner.data())

    @property
    def arch(self) -> str:
        """The backbone's name."""
        return self._learner.arch()

    @property
    def frozen(self) -> int:
        """The number of frozen layer groups: 2 (only the head is trained), 1, or 0 (all layers are)."""
        return self._learner.freezing()[0]

    @property
    def trains_on_cached_features(self) -> bool:
        """Whether epochs start from cached features of the frozen layers, rather than from images."""
        return self._learner.freezing()[1]

    def set_data(self, data: ImageData) -> None:
        """Replaces the data by other images of the same classes."""
        self._learner.set_data(_data(data))

    def set_size(self, size: int) -> None:
        """Changes the image size in pixels, with the same images."""
        self._learner.set_size(whole("size", size))

    def watch(
        self, folder: PathLike | None = None, *, port: int = 0, browser: bool | None = None
    ) -> LivePage:
        """Shows what this learner has done, and does from now on, on a page in a browser.

        Curves, predictions for a few validation photos, and where the time goes, grow with each epoch; a call can be stopped
        there. The page is there as long as the learner, or until it is closed.

        Args:
            folder: A new folder to record in, to be kept. Default: a temporary one.
            port: The port; 0: a free one.
            browser: Whether the page is opened in a browser. Default: where there is a screen, except in notebooks, which
                show a link.
        """
        if self._page is None or not self._page.is_open:
            self._page = of_learner(self._learner, folder, port)
        return shown(self._page, browser)

    def observe(self, callback: Callback) -> None:
        """Adds a callback that receives events of later calls as dictionaries, on the thread that calls.

        `event["event"]` is `epoch`, `progress`, `fit-started`, `lr-found`, `features`, `notice`, `skipped`, …. A callback
        that returns `False` asks to stop after the current step; what it raises ends the call.
        """
        self._observers.add(callback)

    def __repr__(self) -> str:
        return f"{self.arch} on {self.data!r}\n{self._learner.summary()}"


def _data(data: ImageData) -> _ocelli.ImageData:
    if isinstance(data, ImageData):
        return data._data
    raise wrong_type("data", data, "an ocelli.ImageData, such as ImageData.from_folder('photos')")
