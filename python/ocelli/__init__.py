"""Ocelli trains image classifiers by transfer learning: a folder of photos in, a classifier and an honest report out.

    from ocelli import ImageData, Learner, Model

    data = ImageData.from_folder("photos", size=160)
    learner = Learner.pretrained("efficientnet_lite0", data)
    learner.cache_features()
    print(learner.fit_one_cycle(10, 1e-2))
    learner.save("model.safetensors")

    print(Model.load("model.safetensors").predict("garden.jpg"))

Names are those of the Rust library. Numbers are too, to the bit. PyTorch is not needed, and numpy is only imported where an
array is made.
"""

from ocelli._callbacks import register_metric, register_transform
from ocelli._data import ClassCount, ImageData, Inspection, Item, inspect
from ocelli._errors import (
    BusyError,
    ClassError,
    DataError,
    Error,
    ExportError,
    FileError,
    ImageError,
    ImageTypeError,
    InternalError,
    MissingFileError,
    ModelError,
    NoLearningRateError,
    NotEnoughMemoryError,
    NotFiniteError,
    RunError,
    SettingError,
    Stopped,
    WeightsError,
)
from ocelli._learner import Learner
from ocelli._live import LivePage, watch
from ocelli._model import Model
from ocelli._ocelli import __version__
from ocelli._predictions import (
    ClassProbability,
    ConfusionMatrix,
    Gallery,
    Interpretation,
    Prediction,
    Predictions,
    RankedImage,
)
from ocelli._recipe import Recipe
from ocelli._records import EpochRecord, Estimate, History, LrCurve, LrSuggestion
from ocelli._run import Run, RunResult
from ocelli._settings import Augmentation


def archs() -> dict[str, int]:
    """The backbones by name, with the image size in pixels that each was trained on."""
    from ocelli import _ocelli

    return dict(_ocelli.archs())


__all__ = [
    "Augmentation",
    "BusyError",
    "ClassCount",
    "ClassError",
    "ClassProbability",
    "ConfusionMatrix",
    "DataError",
    "EpochRecord",
    "Error",
    "Estimate",
    "ExportError",
    "FileError",
    "Gallery",
    "History",
    "ImageData",
    "ImageError",
    "ImageTypeError",
    "Inspection",
    "InternalError",
    "Interpretation",
    "Item",
    "Learner",
    "LivePage",
    "LrCurve",
    "LrSuggestion",
    "MissingFileError",
    "Model",
    "ModelError",
    "NoLearningRateError",
    "NotEnoughMemoryError",
    "NotFiniteError",
    "Prediction",
    "Predictions",
    "RankedImage",
    "Recipe",
    "Run",
    "RunError",
    "RunResult",
    "SettingError",
    "Stopped",
    "WeightsError",
    "__version__",
    "archs",
    "inspect",
    "register_metric",
    "register_transform",
    "watch",
]
