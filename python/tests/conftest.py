"""The sample pictures, a learner on them, and its model."""

import pathlib

import pytest

import ocelli

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def photos():
    return ROOT / "samples/emoji"


@pytest.fixture
def data(photos):
    return ocelli.ImageData.from_folder(photos, size=32)


@pytest.fixture
def learner(data):
    """A new learner on cached features, which takes a second."""
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    learner.cache_features()
    return learner


@pytest.fixture(scope="session")
def model_path(photos, tmp_path_factory):
    learner = ocelli.Learner.pretrained("efficientnet_lite0", ocelli.ImageData.from_folder(photos, size=32))
    learner.cache_features()
    learner.fit(4, 1e-2)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    learner.save(path)
    return path


@pytest.fixture
def model(model_path):
    return ocelli.Model.load(model_path)


@pytest.fixture
def flag(photos):
    return photos / "flags/de.png"
