"""Events of a call: to callbacks, and to the progress that a notebook or a terminal shows.

They come on the thread that calls, so that a notebook's output can be changed: updates from other threads vanish there.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ocelli._records import EpochRecord, _shown, record
from ocelli._text import number

Callback = Callable[[dict[str, Any]], Any]

ACTIVITIES = {
    "features": "features of the frozen layers",
    "training": "training",
    "validation": "validation",
    "views": "test-time augmentation",
    "statistics": "batch norm statistics",
    "learning-rates": "learning rate finder",
    "resizing": "resizing large images",
    "logistic-regression": "logistic regression",
}
_EVERY = 0.1
"""Seconds between changes of what is shown."""


def in_notebook() -> bool:
    """Whether output goes to a notebook. IPython is not imported: where it is not, this is no notebook."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


def cell() -> int | None:
    """The number of the run of the notebook's current cell."""
    if not in_notebook():
        return None
    number: int | None = getattr(sys.modules["IPython"].get_ipython(), "execution_count", None)
    return number


class Observers:
    """The callbacks of a learner or a run, and whether progress is shown. As a context, one call's receiver of events."""

    __slots__ = ("_callbacks", "_calls", "_progress")

    def __init__(self, progress: bool | None) -> None:
        self._callbacks: list[Callback] = []
        self._calls: list[_Call] = []
        self._progress = progress

    def add(self, callback: Callback) -> None:
        if not callable(callback):
            raise TypeError(f"a callback is a function of an event; this is of the type {type(callback).__name__}")
        self._callbacks.append(callback)

    def cell(self) -> int | None:
        """The run of a notebook's cell in which progress is shown, if it is."""
        return None if self._progress is False else cell()

    def _display(self) -> _Notebook | _Terminal | None:
        if self._progress is False:
            return None
        if in_notebook():
            return _Notebook()
        if self._progress or (sys.stderr is not None and sys.stderr.isatty()):
            return _Terminal()
        return None

    def __enter__(self) -> Callback | None:
        call = _Call(list(self._callbacks), self._display())
        self._calls.append(call)
        return call if call.callbacks or call.display is not None else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._calls.pop()
        if call.display is not None:
            call.display.end()


class _Call:
    """Receives the events of one call."""

    __slots__ = ("callbacks", "display")

    def __init__(self, callbacks: list[Callback], display: _Notebook | _Terminal | None) -> None:
        self.callbacks, self.display = callbacks, display

    def __call__(self, event: dict[str, Any]) -> bool:
        if self.display is not None:
            self.display.show(event)
        # All of them see the event, also where one asks to stop.
        answers = [callback(event) for callback in self.callbacks]
        return not any(answer is False for answer in answers)


class _Shown:
    """What both kinds of output keep: the epochs of the call, and how far the current activity is."""

    def __init__(self) -> None:
        self.epochs: list[EpochRecord] = []
        self.activity, self.done, self.total = "", 0, 0
        self.changed = 0.0

    def note(self, event: dict[str, Any]) -> str | None:
        """Takes an event over; a line for people, where it is one."""
        kind = event["event"]
        if kind == "progress":
            self.activity = ACTIVITIES.get(event["activity"], event["activity"])
            self.done, self.total = event["done"], event["total"]
        elif kind == "epoch":
            self.epochs.append(record(event))
        elif kind == "notice":
            return f"note: {event['text']}"
        elif kind == "skipped":
            return f"skipped: {event['path']}: {event['reason']}"
        elif kind == "lr-found":
            return f"learning rate finder: {number(list(event['learning_rates']))}"
        return None

    def is_due(self) -> bool:
        now = time.monotonic()
        due = now - self.changed >= _EVERY or self.done >= self.total
        if due:
            self.changed = now
        return due


class _Terminal(_Shown):
    """Lines on standard error, and a bar that is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = 0
        self.out = sys.stderr

    def show(self, event: dict[str, Any]) -> None:
        line = self.note(event)
        if line is not None:
            self._line(line)
        elif event["event"] == "epoch":
            header, row = repr(_shown(self.epochs[-1:])).splitlines()
            if len(self.epochs) == 1:
                self._line(header)
            self._line(row)
        elif event["event"] == "progress" and self.out.isatty() and self.is_due():
            text = f"{self.activity} {self.done}/{self.total}"
            self._write("\r" + text.ljust(self.bar))
            self.bar = len(text)

    def _line(self, text: str) -> None:
        self._clear()
        self._write(text + "\n")

    def _clear(self) -> None:
        if self.bar:
            self._write("\r" + " " * self.bar + "\r")
            self.bar = 0

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def end(self) -> None:
        self._clear()


class _Notebook(_Shown):
    """One output of the cell, which grows in place: a bar, and the table of epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.handle: Any = None

    def show(self, event: dict[str, Any]) -> None:
        line = self.note(event)
        if line is not None:
            self.lines.append(line)
        if line is not None or event["event"] == "epoch" or (event["event"] == "progress" and self.is_due()):
            self._draw(is_over=False)

    def _draw(self, is_over: bool) -> None:
        from ocelli import _html

        notebook: Any = importlib.import_module("IPython.display")
        bar = None if is_over or self.done >= self.total else (self.activity, self.done, self.total)
        page = notebook.HTML(_html.progress(bar, _shown(self.epochs), self.lines))
        if self.handle is None:
            self.handle = notebook.display(page, display_id=True)
        else:
            self.handle.update(page)

    def end(self) -> None:
        if self.handle is not None:
            self._draw(is_over=True)
