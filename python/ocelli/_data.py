"""Labelled images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ocelli import _ocelli
from ocelli._arrays import Table
from ocelli._errors import SettingError
from ocelli._settings import Augmentation, PathLike, data_settings, whole


class ClassCount(NamedTuple):
    """Images of a class."""

    class_name: str
    train: int
    """Training images."""
    valid: int
    """Validation images."""


class Item(NamedTuple):
    """An image and its labels."""

    id: str
    """Its name in splits, caches and reports: the path relative to the data's folder."""
    path: Any
    """The file, a `pathlib.Path`."""
    labels: list[str]
    """Its classes: exactly one, or any number for multi-label data."""


class ImageData:
    """Labelled images, split into training and validation sets. Nothing is written among the photos.

    Made by `from_folder`, `from_csv`, `from_paths` and `from_dataframe`, which take the same keyword arguments:

    Args:
        size: Side of the images in pixels, 1 to 8192.
        valid: The validation set: a fraction of every class, above 0 and below 1; a `split.csv` of a run; indices into
            `items()`; or `False` for none. Default: the data's own (`valid/`, a column), else a fifth of every class.
        fold: Cross-validation instead: (which, of how many), such as `(0, 5)`.
        augmentation: Random changes of training images: an `Augmentation` or its names. Default: none.
        framing: How photos are made square: `crop` (resize the shorter side, crop the centre), `squish` or `pad`.
        filter: The resampling filter: `bicubic` or `bilinear`.
        balanced_sampling: Samples every class equally often.
        groups: A regular expression that finds the group in a file's name; images of one group stay on the same side of
            the split.
        group_column: The column of a table that names the group.
        batch_size: Images per step, 2 to 65,536.
        seed: Decides the split, the head's first weights, dropout and the order of images.
        threads: Decoding threads; 0: one per core.
        bad_images: What to do with images that cannot be read: `few` (skip and list them, unless a class loses more than a
            tenth), `skip` or `fail`.
        max_pixels: The largest image that is read, in pixels. Default: Pillow's limit, 178,956,970.
        decisions: A table of decisions about labels, from a report.
    """

    __slots__ = ("_data",)

    _data: _ocelli.ImageData

    def __init__(self) -> None:
        raise TypeError("make data with ImageData.from_folder, from_csv, from_paths or from_dataframe")

    @classmethod
    def _of(cls, data: _ocelli.ImageData) -> ImageData:
        made = cls.__new__(cls)
        made._data = data
        return made

    @classmethod
    def from_folder(
        cls,
        path: PathLike,
        *,
        size: int = 224,
        valid: float | PathLike | Iterable[int] | bool | None = None,
        fold: tuple[int, int] | None = None,
        augmentation: str | Augmentation | None = None,
        framing: str = "crop",
        filter: str = "bicubic",
        balanced_sampling: bool = False,
        groups: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
        threads: int = 0,
        bad_images: str = "few",
        max_pixels: int | None = None,
        decisions: PathLike | None = None,
        class_folders: bool = False,
    ) -> ImageData:
        """Photos in `path/train/CLASS/` and `path/valid/CLASS/`, or in `path/CLASS/`.

        Args:
            class_folders: Takes the names of the folders for the classes, whatever tables lie beside them.
        """
        settings = data_settings(
            size=size,
            valid=valid,
            fold=fold,
            augmentation=augmentation,
            framing=framing,
            filter=filter,
            balanced_sampling=balanced_sampling,
            groups=groups,
            batch_size=batch_size,
            seed=seed,
            bad_images=bad_images,
            max_pixels=max_pixels,
            decisions=decisions,
            class_folders=class_folders,
        )
        return cls._of(_ocelli.ImageData.load("folder", path, None, settings, whole("threads", threads)))

    @classmethod
    def from_csv(
        cls,
        path: PathLike,
        *,
        folder: PathLike | None = None,
        suffix: str | None = None,
        header: bool | None = None,
        id_column: str | int | None = None,
        label_columns: Sequence[str | int] | str | int = (),
        split_column: str | int | None = None,
        group_column: str | None = None,
        label_separator: str | None = None,
        multi_label: bool | None = None,
        size: int = 224,
        valid: float | PathLike | Iterable[int] | bool | None = None,
        fold: tuple[int, int] | None = None,
        augmentation: str | Augmentation | None = None,
        framing: str = "crop",
        filter: str = "bicubic",
        balanced_sampling: bool = False,
        batch_size: int = 64,
        seed: int = 0,
        threads: int = 0,
        bad_images: str = "few",
        max_pixels: int | None = None,
        decisions: PathLike | None = None,
    ) -> ImageData:
        """Photos named in a table, one row each, with their label or labels: CSV, TSV or JSON lines.

        What is not given is detected, with a notice in `notices`.

        Args:
            folder: The folder that holds the files. Default: the table's own.
            suffix: What ids lack to be file names: `.jpg`.
            header: Whether the first row names the columns.
            id_column: The column of the files, by name or counted from 0.
            label_columns: The column of the labels, or several columns of 0 and 1, each named after a class.
            split_column: The column that contains train, valid or test; "none" for no such column.
            label_separator: What separates several labels of an image, one character.
            multi_label: Whether an image may have any number of labels.
        """
        columns = [label_columns] if isinstance(label_columns, (str, int)) else list(label_columns)
        table: dict[str, Any] = {
            "folder": None if folder is None else os.fspath(folder),
            "suffix": suffix,
            "header": header,
            "id_column": id_column,
            "label_columns": columns,
            "split_column": split_column,
            "group_column": group_column,
            "label_separator": label_separator,
            "task": None if multi_label is None else _task(multi_label),
        }
        table = {name: value for name, value in table.items() if value is not None} | {"allow_missing": False}
        settings = data_settings(
            size=size,
            valid=valid,
            fold=fold,
            augmentation=augmentation,
            framing=framing,
            filter=filter,
            balanced_sampling=balanced_sampling,
            batch_size=batch_size,
            seed=seed,
            bad_images=bad_images,
            max_pixels=max_pixels,
            decisions=decisions,
        )
        return cls._of(_ocelli.ImageData.load("table", path, table, settings, whole("threads", threads)))

    @classmethod
    def from_paths(
        cls,
        paths: Iterable[PathLike],
        labels: Iterable[Any],
        *,
        multi_label: bool = False,
        size: int = 224,
        valid: float | PathLike | Iterable[int] | bool | None = None,
        fold: tuple[int, int] | None = None,
        augmentation: str | Augmentation | None = None,
        framing: str = "crop",
        filter: str = "bicubic",
        balanced_sampling: bool = False,
        groups: str | None = None,
        batch_size: int = 64,
        seed: int = 0,
        threads: int = 0,
        bad_images: str = "few",
        max_pixels: int | None = None,
        decisions: PathLike | None = None,
    ) -> ImageData:
        """Photos of a list, with their labels in the same order.

        Args:
            paths: The files.
            labels: One label per file, a text or a number; with `multi_label`, a list of labels per file.
            multi_label: Whether an image may have any number of labels.
        """
        files, each = [os.fspath(path) for path in paths], list(labels)
        if len(files) != len(each):
            raise SettingError(
                f"there are {len(files)} paths and {len(each)} labels; there must be one of each per image",
                name="labels",
                value=str(len(each)),
                expected=f"{len(files)}, one per path",
            )
        listed = [(path, _labels(label, multi_label, path)) for path, label in zip(files, each)]
        settings = data_settings(
            size=size,
            valid=valid,
            fold=fold,
            augmentation=augmentation,
            framing=framing,
            filter=filter,
            balanced_sampling=balanced_sampling,
            groups=groups,
            batch_size=batch_size,
            seed=seed,
            bad_images=bad_images,
            max_pixels=max_pixels,
            decisions=decisions,
        )
        return cls._of(
            _ocelli.ImageData.load("list", listed, _task(multi_label), settings, whole("threads", threads))
        )

    @classmethod
    def from_dataframe(
        cls, table: Any, *, path: str = "path", label: str = "label", folder: PathLike | None = None, **settings: Any
    ) -> ImageData:
        """Photos named in a DataFrame of pandas or polars, or in another table whose columns are found by `table[name]`.

        Args:
            table: The table, one row per photo.
            path: The column of the files.
            label: The column of the labels; with `multi_label=True` its cells are lists.
            folder: The folder that relative paths start from. Default: the current one.
            settings: The keyword arguments of `from_paths`.
        """
        try:
            files, labels = list(table[path]), list(table[label])
        except Exception as error:
            columns = ", ".join(str(name) for name in getattr(table, "columns", []))
            raise SettingError(
                f"the table has not both of the columns {path!r} and {label!r}; it has: {columns}",
                name="path",
                value=f"{path}, {label}",
                expected=f"columns of the table: {columns}",
            ) from error
        if folder is not None:
            files = [os.path.join(folder, each) for each in files]
        return cls.from_paths(files, labels, **settings)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of a model's outputs."""
        return self._data.classes

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have any number of labels, rather than exactly one."""
        return self._data.is_multi_label

    @property
    def size(self) -> int:
        """The side of the images in pixels."""
        return self._data.size

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self._data.batch_size

    @property
    def seed(self) -> int:
        """The seed of the split and of a learner."""
        return self._data.seed

    @property
    def notices(self) -> list[str]:
        """What matters for trusting a result, one sentence each."""
        return self._data.notices

    @property
    def skipped(self) -> list[tuple[Any, str]]:
        """Skipped files and folders, with the reason."""
        return self._data.skipped

    @property
    def split_origin(self) -> str:
        """Where the split comes from, for people."""
        return self._data.split_origin

    def class_counts(self) -> list[ClassCount]:
        """The number of images of each class."""
        return [ClassCount(*count) for count in self._data.class_counts()]

    def items(self, part: str | None = None) -> list[Item]:
        """The images of a part of the split (`train`, `valid` or `test`), or all."""
        return [Item(*item) for item in self._data.items(part)]

    def with_size(self, size: int) -> ImageData:
        """The same data at another image size."""
        return self._of(self._data.with_size(whole("size", size)))

    def with_seed(self, seed: int) -> ImageData:
        """The same data and split, with another seed for a learner."""
        return self._of(self._data.with_seed(whole("seed", seed)))

    def write_split(self, path: PathLike) -> None:
        """Writes the split, for `valid=` of other data."""
        self._data.write_split(path)

    def to_table(self) -> Table:
        """One row per image: id, path, labels, part."""
        rows = Table()
        for part in ("train", "valid", "test"):
            for item in self.items(part):
                rows.append({"id": item.id, "path": str(item.path), "label": "|".join(item.labels), "part": part})
        return rows

    def __len__(self) -> int:
        """All images."""
        return self._data.lengths()[2]

    def __repr__(self) -> str:
        counts = self.class_counts()
        train, valid, _ = self._data.lengths()
        names = ", ".join(count.class_name for count in counts[:8]) + (", …" if len(counts) > 8 else "")
        return f"{train} training and {valid} validation images of {len(counts)} classes at {self.size} px: {names}"

    def _repr_html_(self) -> str:
        from ocelli._html import data

        return data(self)


def _task(multi_label: bool) -> str:
    return "multi-label" if multi_label else "single-label"


def _labels(label: Any, multi_label: bool, path: str) -> list[str]:
    if multi_label:
        if isinstance(label, str) or not isinstance(label, Iterable):
            raise SettingError(
                f"the labels of {path} are {label!r}; with multi_label they must be a list",
                name="labels",
                value=repr(label),
                expected="a list of labels per image",
            )
        return [_name(each, path) for each in label]
    return [_name(label, path)]


def _name(label: Any, path: str) -> str:
    if label is None or label != label:
        raise SettingError(
            f"the label of {path} is {label}; it must be the name of a class",
            name="labels",
            value=str(label),
            expected="the name of a class",
        )
    return str(label)


class Inspection:
    """What is notable about a data set, whether or not it can be trained on."""

    __slots__ = ("_found", "_page")

    def __init__(self, found: dict[str, Any], page: str) -> None:
        self._found, self._page = found, page

    @property
    def images(self) -> int:
        """The number of images."""
        return int(self._found["images"])

    @property
    def problem(self) -> str | None:
        """Why it cannot be trained on."""
        problem: str | None = self._found["problem"]
        return problem

    @property
    def notices(self) -> list[str]:
        """What people should know, one sentence each."""
        return list(self._found["notices"])

    @property
    def classes(self) -> Table:
        """The images of each class: train, valid, test, and the percentage of the area that a centre crop leaves out."""
        return Table(self._found["classes"])

    @property
    def findings(self) -> list[dict[str, Any]]:
        """What people should look at: title, advice, and the cases, each with the indices of its images."""
        return list(self._found["findings"])

    @property
    def skipped(self) -> list[tuple[Any, str]]:
        """Skipped files and folders, with the reason."""
        return list(self._found["skipped"])

    def to_html(self) -> str:
        """The page of `ocelli inspect --html`."""
        return self._page

    def __repr__(self) -> str:
        lines = [repr(self.classes)]
        if self.problem:
            lines.append(f"problem: {self.problem}")
        lines += [f"note: {notice}" for notice in self.notices]
        lines += [f"{finding['title']}: {len(finding['cases'])}" for finding in self.findings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from ocelli._html import framed

        return framed(self._page)


def inspect(path: PathLike, *, size: int = 224, threads: int = 0, **settings: Any) -> Inspection:
    """Decodes every image of a folder, or of a table of labels, once and reports what is notable.

    Args:
        path: The folder or the table.
        size: The side in pixels of the square that a network is to see.
        threads: Decoding threads; 0: one per core.
        settings: Other keyword arguments of `ImageData`.
    """
    kind, more = "folder", None
    if os.path.isfile(path):
        kind, more = "table", {"allow_missing": False}
    found, page = _ocelli.inspect(kind, path, more, data_settings(size=size, **settings), whole("threads", threads))
    return Inspection(found, page)
