"""scikit-learn: its own checks, and its tools on the classifier and on the features."""

import pickle

import numpy as np
import pytest

import ocelli

sklearn = pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from ocelli.sklearn import ImageClassifier, ImageFeatures  # noqa: E402

QUICK = ocelli.Recipe("quick", size=32, head_epochs=4, head_lr=1e-2)


@pytest.fixture(scope="module")
def images(photos):
    """Paths of two classes, and their classes."""
    X, y = [], []
    for name in ("flags", "food-and-drink"):
        files = sorted(photos.glob(f"{name}/*.png"))[:30]
        X += map(str, files)
        y += [name] * len(files)
    return X, y


@pytest.mark.parametrize("estimator", [ImageClassifier(), ImageFeatures()], ids=lambda each: type(each).__name__)
@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_the_checks_of_estimators_hold(estimator):
    done = check_estimator(estimator, on_fail=None)
    failed = [each for each in done if each["status"] == "failed"]
    assert done and not failed, failed


def test_a_classifier_learns(images):
    X, y = images
    classifier = ImageClassifier(size=32, batch_size=16, recipe=QUICK).fit(X, y)
    assert list(classifier.classes_) == ["flags", "food-and-drink"]
    probabilities = classifier.predict_proba(X)
    assert probabilities.shape == (len(X), 2) and np.allclose(probabilities.sum(axis=1), 1)
    assert (classifier.predict(X) == classifier.classes_[probabilities.argmax(axis=1)]).all()
    assert classifier.score(X, y) > 0.9
    copy = pickle.loads(pickle.dumps(classifier))
    assert (copy.predict_proba(X) == probabilities).all()


def test_classes_may_be_numbers(images):
    X, y = images
    numbers = [11 if name == "flags" else 2 for name in y]
    classifier = ImageClassifier(size=32, batch_size=16, recipe=QUICK).fit(X, numbers)
    assert list(classifier.classes_) == [2, 11]
    assert classifier.score(X, numbers) > 0.9


def test_arrays_are_trained_on_as_they_are(images):
    pillow = pytest.importorskip("PIL.Image")
    X, y = images
    pictures = [pillow.open(path).convert("RGB") for path in X]
    arrays = np.stack([np.array(picture.resize((40, 36))) for picture in pictures])
    classifier = ImageClassifier(size=32, batch_size=16, recipe=QUICK).fit(arrays, y)
    listed = ImageClassifier(size=32, batch_size=16, recipe=QUICK).fit(list(arrays), y)
    assert (classifier.predict_proba(arrays) == listed.predict_proba(list(arrays))).all()
    assert classifier.score(arrays, y) > 0.9


def test_cross_validation_and_searches(images, tmp_path):
    X, y = images
    classifier = ImageClassifier(size=32, batch_size=16, recipe=QUICK, cache=str(tmp_path))
    scores = cross_val_score(classifier, np.array(X), y, cv=3)
    assert len(scores) == 3 and scores.mean() > 0.8
    assert any(tmp_path.iterdir()), "features of one fold serve the next"
    search = GridSearchCV(classifier, {"seed": [0, 1]}, cv=2).fit(X, y)
    assert search.best_params_["seed"] in (0, 1) and search.best_score_ > 0.8


def test_features_in_a_pipeline(images, tmp_path):
    X, y = images
    features = ImageFeatures(size=32, cache=str(tmp_path))
    assert features.fit_transform(X).shape == (len(X), 2560)
    scores = cross_val_score(make_pipeline(features, LogisticRegression(max_iter=200)), X, y, cv=3)
    assert scores.mean() > 0.7  # two classes of images of 32 px that it was not trained on: chance is 0.5
    content = [open(path, "rb").read() for path in X[:3]]
    assert (features.transform(content) == features.transform(X[:3])).all()
    assert clone(features).get_params() == features.get_params()
    assert (pickle.loads(pickle.dumps(features)).transform(X[:2]) == features.transform(X[:2])).all()


def test_wrong_input_is_named(images, tmp_path):
    X, y = images
    classifier = ImageClassifier(size=32, batch_size=16, recipe=QUICK)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        classifier.predict(X)
    with pytest.raises(ocelli.SettingError, match="at least two classes"):
        classifier.fit(X[:3], ["a"] * 3)
    with pytest.raises(ocelli.SettingError, match="paths and"):
        classifier.fit(X, y[:-1])
    with pytest.raises(ocelli.SettingError, match="one image"):
        classifier.fit(X[0], y[:1])
    with pytest.raises(ocelli.SettingError, match="X is empty"):
        ImageFeatures(size=32).transform([])
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(ocelli.ImageError, match="bad.png"):
        ImageFeatures(size=32).transform([X[0], str(bad)])
