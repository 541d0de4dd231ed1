"""The lesson as a notebook: executed whole, and its cells show what they should."""

import os

import pytest

from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def test_the_lesson_runs_in_a_kernel(few_photos, tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    # Other photos, such as those of cats and dogs, by hand.
    for name, value in [("OCELLI_PHOTOS", str(few_photos)), ("OCELLI_SIZE", "32")]:
        monkeypatch.setenv(name, os.environ.get(name, value))
    notebook = nbformat.read(ROOT / "docs/lesson2.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    pages = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type in ("display_data", "execute_result") and "text/html" in output.data
    ]
    together = "".join(pages)
    assert together.count("<svg") >= 4, "curves of the finder and of the history, and the matrix"
    assert together.count("data:image/jpeg;base64,") >= 6 + 6 + 1
    # Progress is one output a call, without its bar at the end.
    fits = [page for page in pages if "train loss" in page]
    assert fits and not any("<progress" in page for page in pages)
    for cell in notebook.cells:
        if ".fit" in cell.source:
            shown = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
            assert shown.count("train loss</th>") == 1 and "<svg" in shown, "the table is not repeated below itself"
    if os.environ.get("OCELLI_NOTEBOOK"):
        nbformat.write(notebook, os.environ["OCELLI_NOTEBOOK"])
