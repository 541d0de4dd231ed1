"""What notebooks and terminals show: the values themselves, escaped, and progress that grows in place."""

import html.parser
import io
import sys

import pytest

import ocelli
from ocelli import _progress

VOID = {"img", "br", "meta", "input", "circle", "path", "link"}


class Balanced(html.parser.HTMLParser):
    """Fails where an element is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open and self.open.pop() == tag, tag

    def handle_data(self, text):
        self.texts.append(text)


def test_everything_has_a_page_of_its_own(photos, learner, flag):
    history = learner.fit(2, 1e-2)
    predictions = learner.validate()
    found = predictions.interpret()
    model = learner.to_model()
    shown = {
        "data": learner.data,
        "history": history,
        "curve": learner.lr_find(steps=40),
        "matrix": found.confusion_matrix(),
        "gallery": found.top_losses(4),
        "classes": found.per_class(),
        "interpretation": found,
        "prediction": model.predict(flag),
        "inspection": ocelli.inspect(photos, size=32),
        "table": predictions.to_table(),
    }
    texts = {}
    for name, value in shown.items():
        page = Balanced(value._repr_html_())
        texts[name] = " ".join(page.texts)
        assert repr(value).strip(), name
    assert f"{history[0].train_loss:.4f}" in texts["history"]
    assert all(name in texts["data"] for name in learner.data.classes)
    assert f"loss {found.top_losses(1)[0].loss:.3f}" in texts["gallery"]
    assert f"{model.predict(flag).best.probability:.3f}" in texts["prediction"]
    assert shown["gallery"]._repr_html_().count("data:image/jpeg;base64,") == 4


def test_names_are_not_markup(photos, tmp_path):
    for name in ("<b>bold", "a & b"):
        (tmp_path / name).mkdir()
        for index, file in enumerate(sorted(photos.glob("flags/*.png"))[:4]):
            content = file.read_bytes() + name.encode()
            (tmp_path / name / f"{index}.png").write_bytes(content)
    data = ocelli.ImageData.from_folder(tmp_path, size=32, valid=0.25)
    page = data._repr_html_()
    assert "<b>" not in page and "&lt;b&gt;bold" in page
    Balanced(page)


def test_a_terminal_gets_a_line_per_epoch(photos, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    data = ocelli.ImageData.from_folder(photos, size=32)
    learner = ocelli.Learner.pretrained("efficientnet_lite0", data, progress=True)
    learner.cache_features()
    history = learner.fit(2, 1e-2)
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if "train loss" in line]) == 1
    for each in history:
        assert any(f"{each.valid_loss:.4f}" in line and f"{each.accuracy:.4f}" in line for line in lines)


def test_a_notebook_gets_one_output_that_grows(learner, monkeypatch):
    display = pytest.importorskip("IPython.display")
    made, updated = [], []

    class Handle:
        def update(self, page):
            updated.append(page.data)

    def shown(page, display_id):
        made.append(page.data)
        return Handle()

    monkeypatch.setattr(display, "display", shown)
    monkeypatch.setattr(_progress, "in_notebook", lambda: True)
    history = learner.fit(3, 1e-2)
    assert len(made) == 1
    last = Balanced(updated[-1])
    assert "progress" not in updated[-1]
    assert all(f"{each.train_loss:.4f}" in last.texts for each in history)


def test_tables_become_dataframes(learner):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    history = learner.fit(2, 1e-2)
    losses = [each.train_loss for each in history]
    assert history.to_pandas()["train_loss"].tolist() == losses
    assert history.to_polars()["train_loss"].to_list() == losses
    predictions = learner.validate()
    table = predictions.to_table().to_pandas()
    assert isinstance(table, pandas.DataFrame) and len(table) == len(predictions)
    assert isinstance(predictions.to_table().to_polars(), polars.DataFrame)
    matrix = predictions.interpret().confusion_matrix().to_pandas()
    assert matrix.to_numpy().sum() == len(predictions) and list(matrix.index) == learner.data.classes
