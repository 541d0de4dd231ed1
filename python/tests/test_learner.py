"""Training: that it learns, that what is set has an effect, and that it goes on where it stopped."""

import threading

import pytest

import ocelli


def test_a_head_learns_and_the_history_says_so(learner):
    history = learner.fit(4, 1e-2)
    assert [each.epoch for each in history] == [1, 2, 3, 4]
    assert history[-1].accuracy > 0.4  # seven classes: chance is 0.14
    assert history[-1].train_loss < history[0].train_loss
    assert history == learner.history
    assert learner.validate().accuracy.value == history[-1].accuracy


def test_the_same_seed_gives_the_same_numbers(data):
    def losses():
        learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
        learner.cache_features()
        return [each.valid_loss for each in learner.fit_one_cycle(2, 1e-2)]

    assert losses() == losses()


def test_features_of_training_images_may_be_integers(data):
    def of(int8):
        learner = ocelli.Learner.pretrained("efficientnet_lite0", data, precision="f32", int8_features=int8)
        learner.cache_features()
        return learner.validate().probabilities.tolist(), learner.fit(1, 1e-2)[0].train_loss

    (valid, train), (same, other) = of(True), of(False)
    assert valid == same  # those of validation images are floats
    assert train != other and train == pytest.approx(other, rel=0.1)


def test_schedules_change_the_learning_rates(learner):
    assert learner.fit(1, 1e-2)[0].learning_rates == (1e-2,) * 3
    assert learner.fit(1, (1e-4, 1e-2))[0].learning_rates == pytest.approx((1e-4, 1e-3, 1e-2))
    # A cycle ends at the peak over `div_final`, nearly.
    assert learner.fit_one_cycle(1, 1e-2, div_final=10)[0].learning_rates[2] < 2e-3
    sgdr = learner.fit_sgdr(2, 1e-2, cycle_len=1, cycle_mult=2)
    assert len(sgdr) == 3


def test_freezing(data):
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    assert learner.frozen == 2 and not learner.trains_on_cached_features
    learner.cache_features()
    assert learner.trains_on_cached_features
    learner.freeze_to(1)
    assert learner.frozen == 1
    learner.unfreeze()
    assert learner.frozen == 0
    with pytest.raises(ocelli.Error, match="freeze some layers first"):
        learner.cache_features()
    learner.freeze()
    assert learner.frozen == 2
    learner.cache_features()
    learner.stream_images()
    assert not learner.trains_on_cached_features


def test_fine_tune_trains_the_head_then_all_layers(photos):
    data = ocelli.ImageData.from_folder(photos, size=32, valid=0.5)
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    assert [each.fit for each in learner.fine_tune(1)] == [1, 2]
    assert learner.frozen == 0


def test_the_finder_leaves_the_learner_as_it_was(learner):
    before = learner.validate().loss
    curve = learner.lr_find(steps=40)
    assert len(curve.losses) == len(curve.learning_rates) == len(curve.smoothed) > 20
    assert 1e-4 < curve.suggestion().rate < 1
    assert curve.suggestion().learning_rates[2] == pytest.approx(curve.suggestion().rate)
    assert learner.validate().loss == before
    assert curve.to_svg().startswith("<svg")


def test_a_callback_stops_and_resume_goes_on_to_the_same_numbers(data, cache):
    def started():
        learner = ocelli.Learner.pretrained("efficientnet_lite0", data, cache=cache)
        learner.cache_features()
        return learner

    whole = started()
    expected = [each.valid_loss for each in whole.fit_one_cycle(4, 1e-2)]

    learner = started()
    learner.observe(lambda event: not (event["event"] == "epoch" and event["epoch"] == 2))
    with pytest.raises(ocelli.Stopped):
        learner.fit_one_cycle(4, 1e-2)
    assert len(learner.history) == 2
    while True:
        try:
            learner.resume()
            break
        except ocelli.Stopped:
            pass
    assert [each.valid_loss for each in learner.history] == expected


def test_what_a_callback_raises_ends_the_call(learner):
    def fail(event):
        if event["event"] == "epoch":
            raise LookupError("mine")

    learner.observe(fail)
    with pytest.raises(LookupError, match="mine"):
        learner.fit(2, 1e-2)


def test_events_are_dictionaries(learner):
    events = []
    learner.observe(events.append)
    learner.fit(1, 1e-2)
    assert {event["event"] for event in events} >= {"fit-started", "epoch", "progress"}
    epoch = next(event for event in events if event["event"] == "epoch")
    assert epoch["train_loss"] == learner.history[0].train_loss


def test_a_learner_does_one_thing_at_a_time(learner):
    seen = []

    def look(event):
        if event["event"] == "epoch":
            with pytest.raises(ocelli.BusyError):
                learner.validate()
            seen.append(event)

    learner.observe(look)
    learner.fit(1, 1e-2)
    assert seen


def test_learners_train_in_threads(data, learner, cache):
    expected = [each.valid_loss for each in learner.fit(2, 1e-2)]
    found = {}

    def train(number):
        other = ocelli.Learner.pretrained("efficientnet_lite0", data, cache=cache)
        other.cache_features()
        found[number] = [each.valid_loss for each in other.fit(2, 1e-2)]

    threads = [threading.Thread(target=train, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 3


def test_options_change_training(data, cache):
    def loss(**options):
        learner = ocelli.Learner.pretrained("efficientnet_lite0", data, cache=cache)
        learner.cache_features()
        learner.set_options(**options)
        return learner.fit(1, 1e-3)[0].valid_loss

    found = [
        loss(),
        loss(optimizer="adamw"),
        loss(label_smoothing=0.1),
        loss(weight_decay=0.0),
        loss(class_weights=[1, 1, 1, 1, 1, 1, 5]),
        loss(max_grad_norm=0.1),
        loss(accumulate_steps=2),
    ]
    assert len(set(found)) == len(found)


def test_the_best_weights_are_kept(learner):
    learner.keep_best("accuracy")
    learner.fit(3, 1e-2)
    best = max(learner.history, key=lambda each: (each.accuracy, -each.valid_loss))
    assert learner.best == best
    learner.return_to_best()
    assert learner.validate().accuracy.value == best.accuracy


def test_metrics_are_columns_of_the_history(learner):
    learner.measure("f1-macro")
    record = learner.fit(1, 1e-2)[0]
    assert record.metrics["f1-macro"] == pytest.approx(learner.validate().estimate("f1-macro").value)


def test_weights_are_loaded_from_a_model(learner, model_path):
    expected = ocelli.Model.load(model_path).predict(learner.data.items("valid")[0].path).probabilities
    learner.load(model_path)
    assert (learner.validate().probabilities[0] == expected).all()
    assert learner.fit(1, 1e-3)[0].accuracy > 0.4


def test_a_recipe_runs(photos):
    events = []
    data = ocelli.ImageData.from_folder(photos, size=32)
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    learner.observe(events.append)
    predictions = learner.run_recipe(ocelli.Recipe("quick", size=32, head_epochs=3))
    assert predictions.accuracy.value > 0.4
    assert [event for event in events if event["event"] == "lr-found"]
    assert len(learner.history) == 3


def test_recipes_are_values():
    recipe = ocelli.Recipe("lesson", size=64, augmented=True, head_epochs=2, then_sizes=[96], tta=0)
    assert recipe == ocelli.Recipe("lesson", size=64, augmented=True, head_epochs=2, then_sizes=[96], tta=0)
    assert recipe != ocelli.Recipe("lesson", size=64)
    kinds = [phase["phase"] for phase in recipe.phases]
    assert "resize" in kinds and "tta" not in kinds
    assert recipe.epochs - ocelli.Recipe("lesson", size=64, augmented=True, head_epochs=1, then_sizes=[96]).epochs == 1
    assert ocelli.Recipe("fine-tune-3", size=64).epochs == 4


def test_interpretation(learner):
    learner.fit(2, 1e-2)
    predictions = learner.validate()
    found = predictions.interpret()
    matrix = found.confusion_matrix()
    assert sum(map(sum, matrix.counts)) == len(predictions)
    right = sum(matrix.counts[index][index] for index in range(len(matrix.classes)))
    assert right / len(predictions) == predictions.accuracy.value
    losses = [each.loss for each in found.top_losses(5)]
    assert losses == sorted(predictions.losses, reverse=True)[:5]
    confused = found.most_confused(1)
    assert sum(row["count"] for row in confused) == len(predictions) - right
    name = matrix.classes[0]
    assert all(each.truth == [name] and each.predicted == [name] for each in found.most_correct(name))
    assert all(each.truth == [name] and each.predicted != [name] for each in found.most_incorrect(name))
    assert [row["support"] for row in found.per_class()] == [sum(row) for row in matrix.counts]
    assert set(found.calibration()) >= {"plain"} and "suspects" in found.label_errors()


def test_predictions_are_consistent(learner):
    learner.fit(1, 1e-2)
    predictions = learner.validate()
    values = predictions.probabilities
    assert values.shape == (len(predictions), 7) and values.dtype == "float32"
    assert abs(values.sum(axis=1) - 1).max() < 1e-5
    assert [predictions.classes[row.argmax()] for row in values] == [each[0] for each in predictions.predicted]
    assert predictions.ids == [item.id for item in learner.data.items("valid")]
    assert predictions.targets == [item.labels for item in learner.data.items("valid")]
    low, high = predictions.accuracy.low, predictions.accuracy.high
    assert 0 <= low < predictions.accuracy.value < high <= 1
    assert (learner.tta(2).probabilities != values).any() or learner.data._data.augmentation is None


def test_several_labels(photos):
    items = ocelli.ImageData.from_folder(photos, size=32).items()
    labels = [[*item.labels, "even"] if index % 2 else item.labels for index, item in enumerate(items)]
    data = ocelli.ImageData.from_paths([item.path for item in items], labels, multi_label=True, size=32)
    assert data.is_multi_label and "even" in data.classes
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data)
    learner.cache_features()
    learner.fit(2, 1e-2)
    predictions = learner.validate()
    thresholds = predictions.best_thresholds()
    model = learner.to_model().with_thresholds(thresholds)
    found = model.predict(predictions.paths[0])
    assert [each.probability >= dict(zip(model.classes, thresholds))[each.class_name] for each in found.predicted_labels]
    with pytest.raises(ocelli.Error, match="confusion matrix"):
        predictions.interpret().confusion_matrix()
