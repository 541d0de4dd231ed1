"""Runs in a folder: those of the command, stopped by Ctrl-C, and resumed."""

import os
import subprocess
import sys
import textwrap

import pytest

import ocelli
from test_live import asked
from test_model import command

QUICK = {"recipe": ocelli.Recipe("quick", size=32, head_epochs=3), "size": 32, "cache": False}


def test_a_run_is_that_of_the_command(few_photos, tmp_path):
    run = ocelli.Run(few_photos, out=tmp_path / "module", **QUICK)
    page = run.watch(browser=False)
    result = run.run()
    shown = asked(page, "/api/runs")["runs"][0]
    assert shown["state"] == "finished" and len(shown["epochs"]) == 3
    assert result.model_path == tmp_path / "module/model.safetensors"
    environment = os.environ | {"OCELLI_CACHE": str(tmp_path / "cache")}
    flags = ["--recipe", "quick", "--size", "32", "--head-epochs", "3", "--quiet"]
    done = command("train", few_photos, *flags, "--out", tmp_path / "command", env=environment)
    assert done.returncode == 0, done.stderr
    models = [ocelli.Model.load(tmp_path / name) for name in ("module", "command")]
    assert models[0]._model.digest == models[1]._model.digest
    history = [(tmp_path / name / "history.csv").read_text().splitlines() for name in ("module", "command")]
    assert len(history[0]) == len(history[1]) == 4

    assert len(run.history) == 3 and result.metric == "accuracy"
    assert result.estimate.value == max(each.accuracy for each in run.history)
    assert run.report(cache=False).is_file()
    with pytest.raises(ocelli.RunError, match="is using this run"):
        ocelli.Run.resume(tmp_path / "module")
    del run
    with pytest.raises(ocelli.RunError, match="is finished"):
        ocelli.Run.resume(tmp_path / "module")
    with pytest.raises(ocelli.RunError, match="not empty"):
        ocelli.Run(few_photos, out=tmp_path / "module", **QUICK)


def test_a_run_that_a_callback_stops_is_resumed_to_the_same_model(few_photos, tmp_path):
    whole = ocelli.Run(few_photos, out=tmp_path / "whole", **QUICK).run()
    run = ocelli.Run(few_photos, out=tmp_path / "stopped", **QUICK)
    run.observe(lambda event: not (event["event"] == "epoch" and event["epoch"] == 2))
    with pytest.raises(ocelli.Stopped):
        run.run()
    del run
    resumed = ocelli.Run.resume(tmp_path / "stopped", cache=False)
    assert len(resumed.history) == 2
    result = resumed.run()
    assert result.model._model.digest == whole.model._model.digest


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
@pytest.mark.parametrize("kind", ["run", "learner"])
def test_ctrl_c_stops_after_the_step(few_photos, tmp_path, kind):
    """The interpreter goes on, with KeyboardInterrupt; a run has a checkpoint, and a learner its unfinished fit."""
    code = """
        import os, signal, sys, ocelli
        photos, folder, kind = sys.argv[1:]
        def interrupt(event):
            if event["event"] == "epoch" and event["epoch"] == 2 and not interrupt.done:
                interrupt.done = True
                os.kill(os.getpid(), signal.SIGINT)
        interrupt.done = False
        if kind == "run":
            recipe = ocelli.Recipe("quick", size=32, head_epochs=4)
            work = ocelli.Run(photos, out=folder, recipe=recipe, size=32, cache=False)
            begin, go_on = work.run, lambda: ocelli.Run.resume(folder, cache=False).run()
        else:
            work = ocelli.Learner.pretrained("efficientnet_lite0", ocelli.ImageData.from_folder(photos, size=32))
            work.cache_features()
            begin, go_on = lambda: work.fit(4, 1e-2), work.resume
        work.observe(interrupt)
        try:
            begin()
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted after", len(work.history))
        history = work.history
        del begin
        if kind == "run":
            del work
        go_on()
        print("finished")
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), few_photos, tmp_path / "run", kind]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["interrupted after 2", "finished"], done.stdout + done.stderr
    assert done.returncode == 0
    if kind == "run":
        assert (tmp_path / "run/model.safetensors").is_file()


def test_importing_is_quiet_and_takes_nothing_along():
    code = "import sys, ocelli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not {"numpy", "PIL", "pandas", "polars", "IPython", "sklearn"} & set(done.stdout.split())
