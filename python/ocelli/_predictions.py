"""Predictions: of labelled images with their metrics, and of single images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ocelli import _ocelli
from ocelli._arrays import Table, floats
from ocelli._records import Estimate
from ocelli._settings import PathLike, number, whole

if TYPE_CHECKING:
    from ocelli._arrays import Floats


class ClassProbability(NamedTuple):
    """A class and its probability."""

    class_name: str
    probability: float
    """0 to 1."""


class Prediction:
    """The prediction for one image."""

    __slots__ = ("_multi_label", "classes", "min_probability", "path", "probabilities", "thresholds", "unknown_score")

    path: str | None
    """The file; `None` for an image in memory."""
    classes: list[str]
    """The names of the classes."""
    probabilities: Floats
    """float32 of the shape (classes,), 0 to 1; they sum to 1 for single-label models."""
    thresholds: list[float]
    """The threshold of each class, for multi-label models."""
    min_probability: float
    """The lowest probability of a predicted class, for single-label models."""
    unknown_score: float | None
    """How unlike the training photos it is; `None` where the model has no such score."""

    def __init__(
        self,
        path: str | None,
        classes: list[str],
        probabilities: Floats,
        thresholds: list[float],
        min_probability: float,
        unknown_score: float | None,
        multi_label: bool,
    ) -> None:
        self.path, self.classes, self.probabilities = path, classes, probabilities
        self.thresholds, self.min_probability = thresholds, min_probability
        self.unknown_score, self._multi_label = unknown_score, multi_label

    @property
    def best(self) -> ClassProbability:
        """The most probable class."""
        return self.top_k(1)[0]

    @property
    def predicted_labels(self) -> list[ClassProbability]:
        """The predicted classes, the most probable first: one, or none if its probability is below `min_probability`;
        for multi-label models all whose probability reaches their threshold."""
        if self._multi_label:
            limits = dict(zip(self.classes, self.thresholds))
            return [each for each in self.ranked() if each.probability >= limits[each.class_name]]
        return [best for best in [self.best] if best.probability >= self.min_probability]

    def ranked(self) -> list[ClassProbability]:
        """All classes, the most probable first; of equal ones, in the order of `classes`."""
        values = self.probabilities.tolist()
        order = sorted(range(len(values)), key=lambda index: -values[index])
        return [ClassProbability(self.classes[index], values[index]) for index in order]

    def top_k(self, count: int) -> list[ClassProbability]:
        """The `count` most probable classes."""
        return self.ranked()[: whole("count", count)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        return np.array(self.probabilities, dtype=dtype, copy=True if copy is None else copy)

    def __repr__(self) -> str:
        labels = ", ".join(f"{name} {probability:.3f}" for name, probability in self.predicted_labels) or "no class"
        return labels if self.path is None else f"{self.path}: {labels}"

    def _repr_html_(self) -> str:
        from ocelli._html import prediction

        return prediction(self)


class RankedImage(NamedTuple):
    """A labelled image and its prediction."""

    row: int
    """Its row in the predictions, from 0."""
    id: str
    path: Any
    """The file, a `pathlib.Path`."""
    truth: list[str]
    """Its true classes."""
    predicted: list[str]
    """The predicted classes."""
    probability: float
    """That of the ranked class, or of the first true class."""
    loss: float


class Gallery(list[RankedImage]):
    """Images with their labels and predictions; in a notebook, as pictures."""

    def to_table(self) -> Table:
        """One row per image."""
        return Table(
            {
                "id": each.id,
                "truth": "|".join(each.truth),
                "predicted": "|".join(each.predicted),
                "probability": each.probability,
                "loss": each.loss,
            }
            for each in self
        )

    def __repr__(self) -> str:
        return repr(self.to_table())

    def _repr_html_(self) -> str:
        from ocelli._html import gallery

        return gallery(self)


class ConfusionMatrix:
    """How often images of each class were predicted as each class."""

    __slots__ = ("_svg", "classes", "counts")

    classes: list[str]
    """The names of the classes."""
    counts: list[list[int]]
    """`counts[true][predicted]`"""

    def __init__(self, classes: list[str], counts: list[list[int]], svg: str | None) -> None:
        self.classes, self.counts, self._svg = classes, counts, svg

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        return np.array(self.counts, dtype=dtype)

    def to_table(self) -> Table:
        """One row per true class, one column per predicted class."""
        return Table({"true class": name} | dict(zip(self.classes, row)) for name, row in zip(self.classes, self.counts))

    def to_pandas(self) -> Any:
        """As a pandas DataFrame with the classes as its index; needs pandas."""
        import pandas

        return pandas.DataFrame(self.counts, index=self.classes, columns=self.classes)

    def to_svg(self) -> str | None:
        """The matrix as SVG; `None` where there are too many classes for one."""
        return self._svg

    def __repr__(self) -> str:
        return repr(self.to_table())

    def _repr_html_(self) -> str:
        from ocelli._html import figure, table

        return figure(self._svg) if self._svg else table(self.to_table())


class Predictions:
    """Predictions of labelled images, and their metrics."""

    __slots__ = ("_named",)

    def __init__(self, named: _ocelli.Interpretation) -> None:
        self._named = named

    def __len__(self) -> int:
        return len(self._named)

    @property
    def classes(self) -> list[str]:
        """The names of the classes."""
        return self._named.classes

    @property
    def ids(self) -> list[str]:
        """The id of each image."""
        return self._named.ids

    @property
    def paths(self) -> list[Any]:
        """The file of each image."""
        return self._named.paths

    @property
    def probabilities(self) -> Floats:
        """float32 of the shape (images, classes)."""
        return floats(self._named.probabilities(), len(self.classes))

    @property
    def targets(self) -> list[list[str]]:
        """The true classes of each image."""
        names = self.classes
        return [[names[each] for each in classes] for classes in self._named.targets()]

    @property
    def predicted(self) -> list[list[str]]:
        """The predicted classes of each image: one, or for multi-label data all that reach their threshold."""
        names = self.classes
        return [[names[each] for each in classes] for classes in self._named.predicted()]

    @property
    def losses(self) -> list[float]:
        """The loss of each image: cross-entropy, natural logarithm."""
        return self._named.losses

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self._named.loss()

    @property
    def accuracy(self) -> Estimate:
        """The fraction of images whose predicted classes are exactly the true ones, with Wilson's 95 % interval."""
        _, value, (low, high) = self._named.accuracy()
        return Estimate(value, low, high)

    def estimate(self, metric: str) -> Estimate:
        """The value of a metric with its 95 % interval.

        Args:
            metric: `accuracy`, `error-rate`, `top-5`, `balanced-accuracy`, `log-loss`, `precision`, `recall`, `f1`,
                `f2-macro`, `auroc`, …, or the name of a metric of one's own.
        """
        value, (low, high) = self._named.estimate(metric)
        return Estimate(value, low, high)

    def best_thresholds(self, beta: float = 1.0) -> list[float]:
        """For multi-label data, the threshold of each class at which its F-score of this beta is highest."""
        return self._named.best_thresholds(number("beta", beta))

    def interpret(self) -> Interpretation:
        """What is right and wrong, and where."""
        return Interpretation(self._named)

    def write_csv(self, path: PathLike) -> None:
        """Writes the table of predictions: one row per image."""
        self._named.write_csv(path)

    def to_table(self) -> Table:
        """One row per image: id, true and predicted classes, loss, and the probability of each class."""
        rows = Table()
        names = self.classes
        columns = zip(self.ids, self.targets, self.predicted, self.losses, self.probabilities.tolist())
        for id, truth, predicted, loss, row in columns:
            found = {"id": id, "truth": "|".join(truth), "predicted": "|".join(predicted), "loss": loss}
            rows.append(found | {f"p({name})": value for name, value in zip(names, row)})
        return rows

    def __repr__(self) -> str:
        if not len(self):
            return "no predictions"
        return f"{len(self)} predictions: accuracy {self.accuracy}; loss {self.loss:.4f}"


class Interpretation:
    """What is right and wrong in predictions of labelled images."""

    __slots__ = ("_named",)

    def __init__(self, named: _ocelli.Interpretation) -> None:
        self._named = named

    @property
    def predictions(self) -> Predictions:
        """The predictions."""
        return Predictions(self._named)

    def confusion_matrix(self) -> ConfusionMatrix:
        """How often images of each class were predicted as each class; single-label data only."""
        return ConfusionMatrix(self._named.classes, *self._named.confusion_matrix())

    def most_confused(self, minimum: int = 1) -> Table:
        """Pairs of classes by how often one was taken for the other: truth, predicted, count, and `of` how many."""
        return Table(self._named.most_confused(whole("minimum", minimum)))

    def per_class(self) -> Table:
        """Support, precision, recall, F1 and AUROC of each class."""
        rows = Table()
        for row in self._named.class_table():
            for name in ("precision", "recall"):
                share = row[name]
                row[name] = share["count"] / share["total"] if share and share["total"] else None
            rows.append(row)
        return rows

    def top_losses(self, images: int = 9) -> Gallery:
        """The images with the highest losses."""
        return self._gallery("", None, images)

    def most_correct(self, class_name: str, images: int = 9) -> Gallery:
        """Correctly predicted images of a class, the most confident first."""
        return self._gallery("most-correct", class_name, images)

    def most_incorrect(self, class_name: str, images: int = 9) -> Gallery:
        """Wrongly predicted images of a class, those with its lowest probability first."""
        return self._gallery("most-incorrect", class_name, images)

    def most_uncertain(self, class_name: str, images: int = 9) -> Gallery:
        """Images of a class whose two most probable classes are closest to each other."""
        return self._gallery("most-uncertain", class_name, images)

    def _gallery(self, order: str, class_name: str | None, images: int) -> Gallery:
        found: Sequence[dict[str, Any]] = self._named.ranked(order, class_name, whole("images", images))
        return Gallery(RankedImage(**each) for each in found)

    def label_errors(self) -> dict[str, Any]:
        """Images whose labels are likely wrong, by the predictions of a model that was not trained on them."""
        return self._named.label_errors()

    def calibration(self) -> dict[str, Any]:
        """Whether probabilities can be trusted: bins, expected calibration error, and the temperature."""
        return self._named.calibration()

    def __repr__(self) -> str:
        return f"{self.predictions!r}\n{self.per_class()!r}"

    def _repr_html_(self) -> str:
        from ocelli._html import interpretation

        return interpretation(self)
