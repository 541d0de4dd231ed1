"""Metrics and transforms of one's own."""

import threading

import numpy as np
import pytest

import ocelli


def test_a_metric_of_arrays(learner):
    def right(probabilities, targets):
        assert probabilities.dtype == np.float32 and targets.shape == (len(probabilities),)
        return (probabilities.argmax(axis=1) == targets).mean()

    name = ocelli.register_metric("share-right", right)
    learner.keep_best(name)
    record = learner.fit(2, 1e-2)[1]
    assert record.metrics["share-right"] == record.accuracy
    estimate = learner.validate().estimate(name)
    assert estimate.low < estimate.value == record.accuracy < estimate.high


def test_a_metric_where_lower_is_better_chooses_so(learner):
    epochs = iter([3.0, 1.0, 2.0])
    learner.keep_best(ocelli.register_metric("countdown", lambda *_: next(epochs), higher_is_better=False))
    assert [each.best for each in learner.fit(3, 1e-2)] == [True, True, False]


def test_what_a_metric_raises_ends_the_fit(learner):
    def fails(probabilities, targets):
        raise LookupError("no such thing")

    learner.measure(ocelli.register_metric("failing", fails))
    with pytest.raises(LookupError, match="no such thing"):
        learner.fit(3, 1e-2)
    assert len(learner.history) == 1
    ocelli.register_metric("failing", lambda *_: 1.0)
    assert learner.resume()


def test_names_of_metrics_are_checked():
    for name in ("accuracy", "", "With Spaces"):
        with pytest.raises(ocelli.SettingError):
            ocelli.register_metric(name, lambda *_: 0.0)


def augmented(photos, function, name, **settings):
    changes = ocelli.Augmentation("basic").with_transform(ocelli.register_transform(name, function))
    data = ocelli.ImageData.from_folder(photos, size=32, augmentation=changes, **settings)
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    learner.cache_features(augmented_copies=1)
    return learner.fit(1, 1e-3)[0]


def test_a_transform_of_an_array_changes_training_images(photos):
    seen = set()

    def black(image, generator):
        assert image.shape == (32, 32, 3) and image.dtype == np.uint8
        seen.add(threading.get_ident())
        image[:] = 0

    dark = augmented(photos, black, "black")
    assert seen
    # In place, or as another array.
    assert augmented(photos, lambda image, generator: np.zeros_like(image), "black-too").train_loss == dark.train_loss
    assert augmented(photos, lambda image, generator: None, "nothing").train_loss != dark.train_loss


def test_draws_do_not_depend_on_threads(photos):
    def noise(image, generator):
        noise = generator.normal(0, 30, image.shape)
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    one, more = (augmented(photos, noise, "noise", threads=threads).train_loss for threads in (1, 3))
    assert one == more


def test_what_a_transform_raises_is_named(photos):
    def fails(image, generator):
        raise LookupError("no such pixel")

    with pytest.raises(ocelli.DataError, match='"failing".*no such pixel'):
        augmented(photos, fails, "failing")
    with pytest.raises(ocelli.DataError, match="must be of uint8"):
        augmented(photos, lambda image, generator: image.astype(float), "floats")
    with pytest.raises(ocelli.DataError, match="is not registered"):
        ocelli.Augmentation("basic").with_transform("unheard-of")
