"""Wrong input of each kind is a clear exception, of the class that is usual for it."""

import pickle

import numpy as np
import pytest

import ocelli


def test_missing_folders_and_files(tmp_path):
    for wrong in (tmp_path / "nowhere", str(tmp_path / "nowhere")):
        with pytest.raises(ocelli.MissingFileError, match="does not exist; give the folder") as caught:
            ocelli.ImageData.from_folder(wrong)
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.path == tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError):
        ocelli.Model.load(tmp_path / "model.safetensors")
    with pytest.raises(ocelli.DataError, match="holds no images"):
        ocelli.ImageData.from_folder(tmp_path)


def test_settings_out_of_range(photos, learner):
    cases = [
        (lambda: ocelli.ImageData.from_folder(photos, size=0), "size is 0"),
        (lambda: ocelli.ImageData.from_folder(photos, size=-3), "size is -3"),
        (lambda: ocelli.ImageData.from_folder(photos, size=32.5), "size is 32.5"),
        (lambda: ocelli.ImageData.from_folder(photos, batch_size=1), "batch_size is 1"),
        (lambda: ocelli.ImageData.from_folder(photos, valid=1.5), "1.5"),
        (lambda: ocelli.ImageData.from_folder(photos, valid=float("nan")), "valid is nan"),
        (lambda: ocelli.ImageData.from_folder(photos, framing="stretch"), "crop, squish or pad"),
        (lambda: ocelli.ImageData.from_folder(photos, filter="nearest"), "nearest"),
        (lambda: ocelli.ImageData.from_folder(photos, augmentation="upside-down"), "upside-down"),
        (lambda: ocelli.ImageData.from_folder(photos, valid=0.2, fold=(0, 3)), "give one"),
        (lambda: learner.fit(2, 0.0), "lr is 0"),
        (lambda: learner.fit(2, float("nan")), "lr is NaN"),
        (lambda: learner.fit(2, (1.0, 2.0, 3.0, 4.0)), "early layers, late layers and head"),
        (lambda: learner.fit(1e-2, 2), "epochs is 0.01"),
        (lambda: learner.fit(0, 1e-2), "epochs is 0"),
        (lambda: learner.fit(10**30, 1e-2), "epochs is 1000"),
        (lambda: learner.run_recipe(3), "a Recipe, or the name of a preset"),
        (lambda: learner.to_model().threads(2**70), "threads is 1180591620717411303424"),
        (lambda: learner.to_model().min_probability("much"), "min_probability is 'much'"),
        (lambda: learner.freeze_to(3), "group is 3"),
        (lambda: learner.lr_find(steps=5), "steps is 5"),
        (lambda: learner.set_options(optimizer="sdg"), "sgd, nesterov"),
        (lambda: learner.set_options(mixup=0.2, cutmix=0.2), "give one"),
        (lambda: learner.keep_best("acuracy"), "acuracy"),
        (lambda: learner.tta(0), "tta is 0"),
        (lambda: learner.predict("validation"), "train, valid or test"),
        (lambda: ocelli.Recipe("quik"), "quick, lesson, full"),
        (lambda: ocelli.Learner.pretrained("efficientnet_lite0", photos), "ImageData.from_folder"),
    ]
    for call, words in cases:
        with pytest.raises(ocelli.SettingError) as caught:
            call()
        assert words in str(caught.value), str(caught.value)
        assert isinstance(caught.value, ValueError)


def test_unknown_backbones_are_named(data):
    with pytest.raises(ocelli.ModelError, match="efficientnet_lite0"):
        ocelli.Learner.pretrained("resnet1", data)
    with pytest.raises(ocelli.WeightsError, match="pull"):
        ocelli.Learner.pretrained("resnet152", data)


def test_classes_that_are_not_known(tmp_path, photos, learner, data):
    interpretation = learner.interpret()
    with pytest.raises(ocelli.SettingError, match="class is nowhere"):
        interpretation.most_correct("nowhere")
    paths = [item.path for item in data.items()]
    other = ocelli.ImageData.from_paths(paths, ["a", "b"] * (len(paths) // 2) + ["a"] * (len(paths) % 2), size=32)
    with pytest.raises(ocelli.ClassError, match="the new data has the classes a, b"):
        learner.set_data(other)
    model = tmp_path / "other.safetensors"
    ocelli.Learner.pretrained("efficientnet_lite0", other).save(model)
    with pytest.raises(ocelli.ClassError, match="other.safetensors has the classes a, b"):
        learner.load(model)


def test_lists_that_do_not_fit(photos, data):
    paths = [item.path for item in data.items()]
    from_paths = ocelli.ImageData.from_paths
    for labels, words in [
        (["a"], "paths and 1 labels"),
        (["a"] * len(paths), "at least two classes"),
        (["a", None] * len(paths), "paths and"),
        (["a", None, *["b"] * (len(paths) - 2)], "is None"),
        (["a", float("nan"), *["b"] * (len(paths) - 2)], "is nan"),
        (["a", "", *["b"] * (len(paths) - 2)], "the name of a class"),
    ]:
        with pytest.raises(ocelli.SettingError, match=words):
            from_paths(paths, labels, size=32)
    with pytest.raises(ocelli.SettingError, match="paths is empty"):
        from_paths([], [])
    with pytest.raises(ocelli.SettingError, match="named once"):
        from_paths([paths[0], paths[0]], ["a", "b"])
    with pytest.raises(ocelli.SettingError, match="must be a list"):
        from_paths(paths[:2], ["a", "b"], multi_label=True)
    with pytest.raises(ocelli.ImageError, match="nowhere.png"):
        from_paths([*paths[:4], photos / "nowhere.png"], ["a", "b", "a", "b", "a"])


def test_arrays_of_the_wrong_kind(model):
    def refused(image, *words):
        with pytest.raises(ocelli.ImageTypeError) as caught:
            model.predict(image)
        assert isinstance(caught.value, TypeError)
        assert all(word in str(caught.value) for word in words), str(caught.value)

    refused(np.zeros((8, 8, 3), np.float32), "float32", "(array * 255)")
    refused(np.full((8, 8, 3), np.nan), "float64 with NaN")
    refused(np.zeros((8, 8, 3), np.int64), "int64")
    refused(np.zeros((3, 8, 8), np.uint8), "transpose(1, 2, 0)")
    refused(np.zeros((8, 8, 4), np.uint8), "alpha", "[..., :3]")
    refused(np.zeros((8, 8, 2), np.uint8), "(8, 8, 2)")
    refused(np.zeros((0, 8, 3), np.uint8), "must have pixels")
    refused(np.zeros(8, np.uint8), "(8,)")
    refused(3, "int")
    refused(None, "NoneType")
    with pytest.raises(ocelli.ImageTypeError, match="image 2 is of the type int"):
        model.predict([np.zeros((8, 8), np.uint8), 3])


def test_no_images(model):
    closed = (each for each in ["a.png"])
    closed.close()
    for call in (model.predict, model.predict_proba, model.features):
        with pytest.raises(ocelli.SettingError, match="images is empty"):
            call([])
        with pytest.raises(ocelli.SettingError, match="a generator that has ended"):
            call(closed)
    with pytest.raises(ocelli.SettingError, match="images is empty"):
        list(model.predict(each for each in ()))
    with pytest.raises(ocelli.SettingError, match="images is empty"):
        model.predict(np.zeros((0, 8, 8, 3), np.uint8))


def test_files_that_are_no_models(tmp_path, photos):
    for name, content in [("text.safetensors", b"no tensors"), ("empty.safetensors", b"")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ocelli.ModelError, match=name):
            ocelli.Model.load(tmp_path / name)
    with pytest.raises(ocelli.Error):
        ocelli.Model.load(photos)


def test_a_learning_rate_that_is_much_too_high(learner):
    with pytest.raises(ocelli.NotFiniteError, match="use lower ones") as caught:
        learner.fit(5, 1e30)
    assert isinstance(caught.value, ArithmeticError)


def test_objects_are_made_by_their_constructors():
    for made in (ocelli.ImageData, ocelli.Learner, ocelli.Model):
        with pytest.raises(TypeError, match=r"\.from_folder|\.pretrained|\.load"):
            made()


def test_an_exception_can_be_pickled(tmp_path):
    with pytest.raises(ocelli.SettingError) as caught:
        ocelli.Recipe("quik")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.name, copy.value) == (str(caught.value), "recipe", "quik")


def test_settings_of_a_run_that_are_not_known(photos, tmp_path):
    with pytest.raises(ocelli.SettingError, match="there is no setting epochs"):
        ocelli.Run(photos, out=tmp_path / "run", epochs=3)
    assert not (tmp_path / "run").exists()
