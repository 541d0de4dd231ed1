"""The live page: runs, or a learner, in a browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ocelli import _ocelli
from ocelli._errors import SettingError
from ocelli._progress import in_notebook
from ocelli._settings import PathLike, whole

if TYPE_CHECKING:
    import tempfile


class LivePage:
    """A page with curves, predictions and times that grow while something trains.

    Its server listens on this machine alone, until `close`, or until the learner or the run is no longer used. As a context,
    it is closed at the end of the block.
    """

    __slots__ = ("_page", "_temporary")

    _page: _ocelli.LivePage
    _temporary: tempfile.TemporaryDirectory[str] | None

    def __init__(self) -> None:
        raise TypeError("open a page with Learner.watch, Run.watch or ocelli.watch")

    @classmethod
    def _of(cls, page: _ocelli.LivePage, temporary: tempfile.TemporaryDirectory[str] | None = None) -> LivePage:
        made = cls.__new__(cls)
        made._page, made._temporary = page, temporary
        return made

    @property
    def url(self) -> str:
        """Its address, such as `http://127.0.0.1:8000`."""
        return self._page.url

    @property
    def folder(self) -> Path:
        """The folder that it shows."""
        return self._page.folder

    @property
    def is_open(self) -> bool:
        """Whether it is there."""
        return self._page.is_open

    def close(self) -> None:
        """Ends the page; a learner's folder is removed, unless it was named."""
        self._page.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> LivePage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # One that could not be made has neither.
        if hasattr(self, "_temporary"):
            self.close()

    def __repr__(self) -> str:
        return f"live page: {self.url}" + ("" if self.is_open else " (closed)")

    def _repr_html_(self) -> str:
        url = self.url
        if not self.is_open:
            return f"<p>live page: {url} (closed)</p>"
        return f'<p>live page: <a href="{url}" target="_blank" rel="noopener">{url}</a></p>'


def watch(folder: PathLike = "runs", *, port: int = 0, browser: bool | None = None) -> LivePage:
    """Shows training runs in a browser, live: those of this process, and those of others.

    Args:
        folder: The folder of a run, or a folder of runs.
        port: The port; 0: a free one.
        browser: Whether the page is opened in a browser. Default: where there is a screen, except in notebooks, which show
            a link.
    """
    return shown(LivePage._of(_ocelli.LivePage.open(folder, port_number(port))), browser)


def port_number(port: int) -> int:
    number = whole("port", port)
    if number > 65_535:
        expected = "a port from 0 to 65535"
        raise SettingError(f"port is {number}; it must be {expected}", name="port", value=str(number), expected=expected)
    return number


def shown(page: LivePage, browser: bool | None) -> LivePage:
    """The page, in a browser if that is wanted."""
    if browser is None:
        # Without a screen, a browser of the terminal would take it over.
        has_screen = sys.platform in ("darwin", "win32") or any(
            os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        browser = has_screen and not in_notebook()
    if browser:
        import webbrowser

        webbrowser.open(page.url)
    return page


def of_learner(learner: _ocelli.Learner, folder: PathLike | None, port: int) -> LivePage:
    """The page of a learner, which records in this folder, or in a temporary one."""
    number = port_number(port)
    if folder is not None:
        return LivePage._of(learner.watch(folder, number))
    import tempfile

    temporary = tempfile.TemporaryDirectory(prefix="ocelli-", ignore_cleanup_errors=True)
    try:
        return LivePage._of(learner.watch(os.path.join(temporary.name, "learner"), number), temporary)
    except BaseException:
        temporary.cleanup()
        raise
