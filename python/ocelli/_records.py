"""Records of training: epochs, curves, estimates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ocelli import _ocelli
from ocelli._arrays import Table
from ocelli._text import Rounded


class Estimate(NamedTuple):
    """The value of a metric with its 95 % interval, which contains it. NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.4f}, 95 % interval {self.low:.4f} to {self.high:.4f}"


class EpochRecord(NamedTuple):
    """One epoch of training."""

    fit: int
    """The fit, counted from 1."""
    epoch: int
    """The epoch within the fit, counted from 1."""
    train_loss: float
    """Mean loss over the training images, in training mode."""
    valid_loss: float | None
    """Mean loss over the validation images; `None` without any."""
    accuracy: float | None
    """The accuracy on the validation images, 0 to 1."""
    metrics: dict[str, float]
    """Other metrics by name."""
    learning_rates: tuple[float, ...]
    """The learning rates of the last step: early layers, late layers, head."""
    seconds: float
    """Seconds, validation included."""
    best: bool
    """Whether its weights were saved as the best so far."""


def record(found: dict[str, Any]) -> EpochRecord:
    """From the library's record."""
    return EpochRecord(
        fit=found["fit"],
        epoch=found["epoch"],
        train_loss=found["train_loss"],
        valid_loss=found["valid_loss"],
        accuracy=found["accuracy"],
        metrics={name: value for name, value in found["metrics"]},
        learning_rates=tuple(found["learning_rates"]),
        seconds=found["seconds"],
        best=found.get("best", False),
    )


class History(list[EpochRecord]):
    """The records of epochs, in order."""

    _cell: int | None = None
    """The run of a notebook's cell in which progress has shown these records as a table."""

    @classmethod
    def _of(cls, records: Iterable[dict[str, Any]], cell: int | None = None) -> History:
        made = cls(record(each) for each in records)
        made._cell = cell
        return made

    def to_table(self) -> Table:
        """One row per epoch, with a column for each metric."""
        rows = Table()
        for each in self:
            row = each._asdict()
            row |= row.pop("metrics")
            row["learning_rates"] = list(each.learning_rates)
            rows.append(row)
        return rows

    def to_pandas(self) -> Any:
        """As a pandas DataFrame; needs pandas."""
        return self.to_table().to_pandas()

    def to_polars(self) -> Any:
        """As a polars DataFrame; needs polars."""
        return self.to_table().to_polars()

    def __repr__(self) -> str:
        return repr(_shown(self))

    def _repr_html_(self) -> str:
        from ocelli._html import history
        from ocelli._progress import cell

        # The table stands right above.
        return history(self, with_table=self._cell is None or self._cell != cell())


def _shown(records: Iterable[EpochRecord]) -> Table:
    """The columns that are shown."""
    rows = Table()
    for each in records:
        row: dict[str, Any] = {"fit": each.fit, "epoch": each.epoch, "train loss": each.train_loss}
        if each.valid_loss is not None:
            row |= {"valid loss": each.valid_loss, "accuracy": each.accuracy}
        row |= each.metrics
        row["lr"] = each.learning_rates[-1]
        row["seconds"] = Rounded(each.seconds)
        rows.append(row)
    return rows


class LrSuggestion(NamedTuple):
    """The learning rate that a curve suggests."""

    rate: float
    """The head's."""
    learning_rates: tuple[float, float, float]
    """Those of early layers, late layers and head."""
    rule: str
    """How it was chosen."""


class LrCurve:
    """The curve of the learning rate finder."""

    __slots__ = ("_curve",)

    def __init__(self, curve: _ocelli.LrCurve) -> None:
        self._curve = curve

    @property
    def learning_rates(self) -> list[float]:
        """The head's learning rate at each step."""
        return self._curve.learning_rates

    @property
    def losses(self) -> list[float]:
        """The loss at each step."""
        return self._curve.losses

    @property
    def smoothed(self) -> list[float]:
        """The losses, smoothed."""
        return self._curve.smoothed

    @property
    def diverged(self) -> float | None:
        """The learning rate at which the loss diverged and the search ended."""
        return self._curve.diverged

    def suggestion(self) -> LrSuggestion:
        """The learning rate to train with. Raises `NoLearningRateError` where the curve supports none."""
        rates, rate, rule = self._curve.suggestion()
        return LrSuggestion(rate, rates, rule)

    def suggestions(self) -> dict[str, float]:
        """fastai's four rules: valley, slide, minimum, steep."""
        return self._curve.suggestions()

    def to_table(self) -> Table:
        """One row per step."""
        columns = zip(self.learning_rates, self.losses, self.smoothed)
        return Table({"lr": lr, "loss": loss, "smoothed": smoothed} for lr, loss, smoothed in columns)

    def to_svg(self) -> str:
        """The chart as SVG."""
        return self._curve.to_svg()

    def __repr__(self) -> str:
        from ocelli._errors import NoLearningRateError

        try:
            found = self.suggestion()
        except NoLearningRateError as error:
            return str(error)
        return f"learning rate {found.rate:.1e} ({found.rule}), from {len(self.losses)} steps"

    def _repr_html_(self) -> str:
        from ocelli._html import figure

        return figure(self.to_svg(), repr(self))
