"""Where data comes from: the same photos give the same items, whichever way they are named."""

import csv
import os

import pytest

import ocelli


def listed(data):
    return [(item.id, item.labels) for item in data.items()]


def test_paths_and_labels_are_the_folder(photos, data, tmp_path):
    items = data.items()
    paths, labels = [str(item.path) for item in items], [item.labels[0] for item in items]
    same = ocelli.ImageData.from_paths(paths, labels, size=32)
    assert listed(same) == listed(data)
    # The same ids and files, and so the same split.
    assert [item.id for item in same.items("valid")] == [item.id for item in data.items("valid")]
    assert same.classes == data.classes and same.class_counts() == data.class_counts()

    table = tmp_path / "labels.csv"
    with open(table, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        rows.writerows((item.id, item.labels[0]) for item in items)
    of_table = ocelli.ImageData.from_csv(table, folder=photos, size=32)
    assert sorted(listed(of_table)) == sorted(listed(data))


def test_dataframes(data):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    columns = {"file": [str(item.path) for item in data.items()], "class": [item.labels[0] for item in data.items()]}
    for table in (pandas.DataFrame(columns), polars.DataFrame(columns), columns):
        found = ocelli.ImageData.from_dataframe(table, path="file", label="class", size=32)
        assert listed(found) == listed(data)
    with pytest.raises(ocelli.SettingError, match="it has: file, class"):
        ocelli.ImageData.from_dataframe(pandas.DataFrame(columns), path="path")


def test_splits(photos, data, tmp_path):
    def valid(**settings):
        return [item.id for item in ocelli.ImageData.from_folder(photos, size=32, **settings).items("valid")]

    half, folds = valid(valid=0.5), [valid(fold=(number, 3)) for number in range(3)]
    assert len(half) > len(valid())
    assert sorted(sum(folds, [])) == sorted(item.id for item in data.items())
    assert valid(valid=False) == []
    assert valid(valid=[0, 5]) == [data.items()[index].id for index in (0, 5)]
    assert valid(seed=1) != valid(seed=2)
    split = tmp_path / "split.csv"
    ocelli.ImageData.from_folder(photos, size=32, seed=7).write_split(split)
    assert valid(valid=split) == valid(seed=7)


def test_augmentations(photos):
    def augmentation(value):
        return ocelli.ImageData.from_folder(photos, size=32, augmentation=value)._data.augmentation

    assert augmentation(None) is None and augmentation("none") is None
    both = augmentation("basic+cutout")
    assert len(both["transforms"]) == len(augmentation("basic")["transforms"]) + 1
    assert tuple(augmentation(ocelli.Augmentation("side-on", max_zoom=1.3))["zoom"]) == (1.0, 1.3)


def test_an_inspection_names_what_is_wrong(photos, tmp_path):
    found = ocelli.inspect(photos, size=32)
    assert found.images == len(ocelli.ImageData.from_folder(photos, size=32)) and found.problem is None
    assert "<html" in found.to_html()
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number, file in enumerate(sorted(photos.glob("flags/*.png"))[:6]):
            content = b"\xff\xd8\xff no image" if name == "dog" and number > 2 else file.read_bytes() + name.encode()
            (tmp_path / name / f"{number}.png").write_bytes(content)
    found = ocelli.inspect(tmp_path, size=32)
    assert '"dog"' in found.problem and "3 of 6" in found.problem and found.problem in repr(found)


@pytest.mark.skipif(os.name == "nt", reason="paths are text on Windows")
def test_names_that_are_not_text(photos, tmp_path, model):
    """Bytes that are no UTF-8 come as surrogate escapes, and go back to the same files."""
    for number, (name, of) in enumerate([(b"caf\xe9", "flags/de.png"), (b"\xff", "food-and-drink/avocado.png")]):
        folder = os.path.join(os.fsencode(tmp_path), b"class%d" % number)
        os.mkdir(folder)
        for copy in range(3):
            try:
                with open(os.path.join(folder, name + b"%d.png" % copy), "wb") as file:
                    # A byte after the end makes another file of it.
                    file.write((photos / of).read_bytes() + b"\0" * copy)
            except OSError:
                pytest.skip("this file system takes no such names")
    data = ocelli.ImageData.from_folder(tmp_path, size=32, valid=0.34)
    paths = [item.path for item in data.items()]
    assert any("\udce9" in str(path) for path in paths)
    found = model.predict([str(path) for path in paths])
    assert [each.path for each in found] == [str(path) for path in paths]
    with pytest.raises((ocelli.Error, UnicodeEncodeError)):
        model.predict("\ud800.png")
