"""The live page: what a learner does, over HTTP."""

import json
import time
import urllib.error
import urllib.request

import pytest

import ocelli

LOOKED_FOR = 0.3
"""Seconds after which the next event finds a request to stop."""


def asked(page, path, data=None):
    with urllib.request.urlopen(page.url + path, data=data, timeout=30) as answer:
        return json.load(answer)


def told(page):
    """The events in the page's folder."""
    lines = (page.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_page_of_a_learner_grows_and_stops_a_call(learner):
    before = learner.fit(1, 1e-2)
    page = learner.watch(browser=False)
    assert learner.watch(browser=False) is page and page.url in repr(page) and page.url in page._repr_html_()
    with urllib.request.urlopen(page.url, timeout=30) as answer:
        assert b"<title>Training runs" in answer.read()
    listed = asked(page, "/api/runs")
    assert listed["is_single"] and len(listed["runs"]) == 1
    run = listed["runs"][0]
    # What it had done before is there too.
    assert [each["valid_loss"] for each in run["epochs"]] == [before[0].valid_loss]
    path = f"/api/runs/{run['id']}"
    described = asked(page, path)
    assert described["is_learner"] and described["state"] == "running" and described["can_stop"]

    def stop(event):
        if event["event"] == "epoch" and event["epoch"] == 2 and not stopped:
            stopped.append(asked(page, path + "/stop", data=b""))
            time.sleep(LOOKED_FOR)

    stopped = []
    learner.observe(stop)
    with pytest.raises(ocelli.Stopped):
        learner.fit(4, 1e-3)
    assert stopped == [{"state": "stopping"}]
    assert "stopped" in [event["event"] for event in told(page)]
    assert asked(page, path)["state"] == "running", "the request is over, and the learner is not"
    done = len(learner.history)
    # The next calls are not stopped.
    assert learner.cache_features() is None
    assert len(learner.fit(2, 1e-3)) == 2
    epochs = asked(page, "/api/runs")["runs"][0]["epochs"]
    assert len(epochs) == len(learner.history) == done + 2
    folder = page.folder
    page.close()
    assert not page.is_open and not folder.exists()
    with pytest.raises(urllib.error.URLError):
        asked(page, "/api/runs")
    # Training goes on without it.
    learner.fit(1, 1e-3)


def test_a_fit_that_the_page_stopped_is_resumed_to_the_same_result(few_photos):
    def fitted(stops):
        learner = ocelli.Learner.pretrained("efficientnet_lite0", ocelli.ImageData.from_folder(few_photos, size=32))
        learner.cache_features()
        if stops:
            page = learner.watch(browser=False)

            def stop(event):
                if event["event"] == "epoch" and event["epoch"] == 1:
                    asked(page, "/api/runs/learner/stop", data=b"")
                    time.sleep(LOOKED_FOR)

            learner.observe(stop)
            with pytest.raises(ocelli.Stopped):
                learner.fit(3, 1e-3)
            learner.resume()
        else:
            learner.fit(3, 1e-3)
        return learner.history[-1].valid_loss

    assert fitted(True) == fitted(False)


def test_a_folder_that_is_named_is_kept(learner, tmp_path):
    with learner.watch(tmp_path / "kept", browser=False) as page:
        learner.fit(1, 1e-2)
    assert (tmp_path / "kept/history.csv").is_file()
    with ocelli.watch(tmp_path, browser=False) as page:
        assert [each["id"] for each in asked(page, "/api/runs")["runs"]] == ["kept"]
    with pytest.raises(ocelli.RunError, match="not empty"):
        learner.watch(tmp_path / "kept", browser=False)


def test_wrong_input_is_named(learner, tmp_path):
    with pytest.raises(ocelli.MissingFileError, match="nowhere"):
        ocelli.watch(tmp_path / "nowhere", browser=False)
    with pytest.raises(ocelli.SettingError, match="port is 70000"):
        learner.watch(port=70_000, browser=False)
    with ocelli.watch(tmp_path, browser=False) as page:
        with pytest.raises(ocelli.SettingError, match="port"):
            ocelli.watch(tmp_path, port=int(page.url.rsplit(":", 1)[1]), browser=False)
    with pytest.raises(TypeError, match="Learner.watch"):
        ocelli.LivePage()
