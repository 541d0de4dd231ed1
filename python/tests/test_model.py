"""Predictions: the same for every form of an image, and those of the command, to the bit."""

import csv
import io
import os
import subprocess
import sys

import numpy as np
import pytest

import ocelli


def command(*arguments, **options):
    """The command `ocelli` of this environment."""
    arguments = [sys.executable, "-m", "ocelli._command", *map(str, arguments)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)


def test_the_command_gives_the_same_probabilities(photos, model_path, model):
    files = sorted(photos.glob("*/b*.png"))
    done = command("predict", model_path, *files, "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == len(files)
    for row, found in zip(rows, model.predict(files)):
        for name, probability in zip(model.classes, found.probabilities):
            column = next(column for column in row if name in column)
            assert np.float32(row[column]) == probability


def test_every_form_of_an_image_gives_the_same(flag, model):
    pillow = pytest.importorskip("PIL.Image")
    expected = model.predict(flag).probabilities
    content = flag.read_bytes()
    with pillow.open(flag) as opened:
        picture = opened.convert("RGBA")
    # As the library does it: what is transparent becomes white.
    flat = pillow.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    array = np.array(flat)
    memory = {"str": str(flag), "bytes": content, "bytearray": bytearray(content), "memoryview": memoryview(content)}
    for form, image in memory.items():
        assert (model.predict(image).probabilities == expected).all(), form
    pixels = model.predict(array).probabilities
    assert (model.predict(flat).probabilities == pixels).all()
    wide = np.zeros((array.shape[0], array.shape[1] * 2, 3), np.uint8)
    wide[:, ::2] = array
    assert (model.predict(wide[:, ::2]).probabilities == pixels).all(), "an array that is not contiguous"
    assert (model.predict(np.asfortranarray(array)).probabilities == pixels).all()


def test_grey_arrays_are_grey_images(model):
    grey = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    expected = model.predict(np.repeat(grey[:, :, None], 3, axis=2)).probabilities
    assert (model.predict(grey).probabilities == expected).all()
    assert (model.predict(grey[:, :, None]).probabilities == expected).all()


def test_several_images_are_predicted_as_each(photos, model):
    files = sorted(photos.glob("flags/*.png"))[:5]
    each = [model.predict(file).probabilities for file in files]
    arrays = [np.full((8, 9, 3), value, np.uint8) for value in (0, 90, 255)]
    mixed = [files[0], files[1].read_bytes(), arrays[0], str(files[2]), arrays[1]]
    found = model.predict(mixed)
    for place, index in [(0, 0), (1, 1), (3, 2)]:
        assert (found[place].probabilities == each[index]).all()
    assert (found[2].probabilities == model.predict(arrays[0]).probabilities).all()
    assert [one.path for one in found] == [str(files[0]), None, None, str(files[2]), None] or found[0].path is None

    assert all((a.probabilities == b).all() for a, b in zip(model.predict(tuple(files)), each))
    assert (model.predict_proba(files) == np.stack(each)).all()
    batch = np.stack(arrays)
    assert all((a.probabilities == b.probabilities).all() for a, b in zip(model.predict(batch), model.predict(arrays)))


def test_generators_are_read_while_their_predictions_are_taken(flag, model):
    taken = []

    def images():
        for number in range(1000):
            taken.append(number)
            yield flag

    found = model.predict(images())
    assert not taken
    assert next(found).path == str(flag)
    assert len(taken) < 1000
    assert sum(1 for _ in found) == 999


def test_a_prediction_says_what_is_likely(flag, model):
    found = model.predict(flag)
    values = found.probabilities
    assert found.best == (model.classes[values.argmax()], float(values.max()))
    assert [each.probability for each in found.ranked()] == sorted(values.tolist(), reverse=True)
    assert found.top_k(3) == found.ranked()[:3]
    assert found.predicted_labels == [found.best]
    unsure = model.min_probability(1.0).predict(flag)
    assert unsure.predicted_labels == [] and (unsure.probabilities == values).all()
    assert np.asarray(found).tolist() == values.tolist()


def test_features(photos, model):
    files = sorted(photos.glob("flags/*.png"))[:4]
    features = model.features(files)
    assert features.dtype == np.float32 and features.shape == (4, 2560)
    assert (model.features(files[2]) == features[2]).all()
    assert (model.features([file.read_bytes() for file in files]) == features).all()
    assert np.unique(features, axis=0).shape[0] == 4


def test_arrays_are_shared_without_copies(photos, model):
    files = sorted(photos.glob("flags/*.png"))[:3]
    for array in (model.features(files), model.features(files[0]), model.predict_proba(files)):
        shared = np.from_dlpack(array)
        assert np.shares_memory(shared, array) and (shared == array).all()
        # PyTorch takes only what may be written to.
        assert array.flags.writeable


def test_torch_takes_features(photos, model):
    torch = pytest.importorskip("torch")
    features = model.features(sorted(photos.glob("flags/*.png"))[:3])
    tensor = torch.from_dlpack(features)
    assert tensor.shape == (3, 2560) and tensor.data_ptr() == features.ctypes.data
    pixels = torch.full((8, 9, 3), 90, dtype=torch.uint8)
    assert (model.predict(pixels).probabilities == model.predict(pixels.numpy()).probabilities).all()


def test_errors_can_be_returned_in_place(flag, tmp_path, model):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    images = [flag, bad, b"no image either", np.zeros((2, 2), np.float32), flag]
    found = model.predict(images, on_error="return")
    assert [type(each).__name__ for each in found] == [
        "Prediction",
        "ImageError",
        "ImageError",
        "ImageTypeError",
        "Prediction",
    ]
    assert found[1].path == bad
    for image in images[1:4]:
        with pytest.raises(ocelli.ImageError):
            model.predict(image)
        with pytest.raises(ocelli.ImageError):
            model.predict_proba([flag, image])
        with pytest.raises(ocelli.ImageError):
            model.features([flag, image])


def test_augmented_views(flag, model):
    corners = model.predict(flag, tta="corners").probabilities
    assert (corners != model.predict(flag).probabilities).any()
    assert corners.sum() == pytest.approx(1)
    with pytest.raises(ocelli.SettingError, match="in memory"):
        model.predict(flag.read_bytes(), tta="corners")


def test_features_in_8_bits_are_near_floats(photos, flag, model):
    files = sorted(photos.glob("*/*.png"))
    integers = model.int8(each for each in files[::5])
    assert integers.is_int8 and not model.is_int8
    exact, rounded = model.predict_proba(files), integers.predict_proba(files)
    assert 0 < abs(exact - rounded).max() < 0.5
    assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() > 0.9
    with pytest.raises(ocelli.Error, match="8-bit integers need photos"):
        model.int8()
    with pytest.raises(ocelli.Error, match="8-bit integers need photos"):
        model.int8([])


def test_a_model_is_saved_as_it_is(flag, tmp_path, model):
    model.save(tmp_path / "copy.safetensors")
    copy = ocelli.Model.load(tmp_path / "copy.safetensors")
    assert (copy.predict(flag).probabilities == model.predict(flag).probabilities).all()
    assert copy.config["classes"] == model.classes
    assert "efficientnet_lite0 at 32 px, 7 classes" in repr(copy)


def test_exports_agree_with_the_model(flag, tmp_path, model):
    for format in ("onnx", "tflite"):
        path = tmp_path / f"model.{format}"
        agreement = model.export(path, format=format, photos=[flag])
        assert path.stat().st_size > 1_000_000 and agreement["same_class"] >= 1
    with pytest.raises(ocelli.ExportError, match="photos"):
        model.export(tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()
    with pytest.raises(ocelli.SettingError, match="onnx or tflite"):
        model.export(tmp_path / "other", format="coreml")


def test_the_command_ends_with_its_status(tmp_path):
    version = command("--version")
    assert (version.returncode, version.stdout) == (0, f"ocelli {ocelli.__version__}\n")
    assert command("--nonsense").returncode == 2
    missing = command("train", tmp_path / "nowhere", env=os.environ | {"OCELLI_CACHE": str(tmp_path)})
    assert missing.returncode == 1 and "does not exist" in missing.stderr


def test_memory_does_not_grow(photos, model):
    """Neither with predictions nor with learners."""
    resource = pytest.importorskip("resource")
    files = sorted(photos.glob("flags/*.png"))[:10]
    arrays = [np.zeros((64, 64, 3), np.uint8)] * 10
    data = ocelli.ImageData.from_folder(photos, size=32)

    def some():
        for _ in range(10):
            model.predict(files)
            model.predict(arrays)
        for _ in range(2):
            ocelli.Learner.pretrained("efficientnet_lite0", data).observe(print)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for _ in range(3):
        some()
    before = peak()
    for _ in range(5):
        some()
    # A learner alone has 14 MB of weights, and a leak of one each would be ten of them.
    assert peak() - before < 50_000


def test_columns_of_paths_are_several_images(photos, model):
    files = [str(file) for file in sorted(photos.glob("flags/*.png"))[:3]]
    expected = model.predict_proba(files)
    columns = [np.array(files), np.array(files, object)]
    for name in ("pandas", "polars"):
        columns.append(pytest.importorskip(name).Series(files))
    for column in columns:
        found = model.predict(column)
        assert all((each.probabilities == row).all() for each, row in zip(found, expected)) and len(found) == 3
