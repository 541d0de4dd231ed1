"""The sample pictures, a learner on them, and its model."""

import pathlib
import shutil

import pytest

import ocelli

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def photos():
    return ROOT / "samples/emoji"


@pytest.fixture
def data(photos):
    return ocelli.ImageData.from_folder(photos, size=32)


@pytest.fixture(scope="session")
def few_photos(photos, tmp_path_factory):
    """A quarter of them, where it does not matter what is learned."""
    place = tmp_path_factory.mktemp("few") / "photos"
    for folder in photos.iterdir():
        (place / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[::4]:
            shutil.copyfile(file, place / folder.name / file.name)
    return place


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Features that all learners of a session share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def learner(data, cache):
    """A new learner on cached features."""
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data, cache=cache)
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
