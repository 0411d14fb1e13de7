"""A page of the web viewer in Chromium, and what of it tells that a study is really shown.

A viewer that fails tends to say so politely: a black canvas, a dialog over the picture, a line in
the console. So a picture counts by its grey levels, and everything that goes wrong is kept.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Error, Locator, Page

from gantry_testing.waiting import TimedOut

Shot = npt.NDArray[np.uint8]
"""A screenshot: (rows, columns, 3) RGB."""
T = TypeVar("T")

# WebGL2 on a processor.
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-dev-shm-usage",
)
# The tour and the notice would lie over the picture. Documents that Chromium shows itself have no storage.
QUIET = """
try {
  localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']));
  const tomorrow = new Date(Date.now() + 864e5).toISOString();
  localStorage.setItem('investigationalUseDialog', JSON.stringify({expiryDate: tomorrow}));
} catch { }
"""
# A loaded machine takes a minute to start WebGL in software.
SECONDS = 150.0
POLL_MILLISECONDS = 250
# What an element that has just gone is waited for.
ELEMENT_MILLISECONDS = 1000
SMALLEST_VIEWPORT = 150
FEWEST_GREY_LEVELS, LEAST_DEVIATION = 12, 5.0
_OWN_SCHEMES = ("blob:", "data:", "chrome-extension:", "chrome:")


def shows_picture(shot: Shot) -> bool:
    """Whether a screenshot of a canvas has the grey levels of a picture; text or a scale bar has not."""
    grey = shot.mean(axis=2).astype(np.uint8)
    return len(np.unique(grey)) > FEWEST_GREY_LEVELS and float(grey.std()) > LEAST_DEVIATION


def coloured(shot: Shot) -> int:
    """Return the number of pixels that are clearly not grey."""
    wide = shot.astype(np.int16)
    return int((wide.max(axis=2) - wide.min(axis=2) > 40).sum())


def difference(one: Shot, other: Shot) -> float:
    """Return the mean absolute difference of two screenshots of the same size."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


@dataclass(slots=True)
class ViewerPage:
    """A page of the viewer at ``origin``; ``problems`` collects all that it complains of."""

    page: Page
    origin: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(QUIET)
        self.page.on("console", lambda m: self._note(m.type == "error", f"console: {m.text}"))
        self.page.on("pageerror", lambda error: self._note(True, f"page error: {error}"))
        self.page.on("requestfailed", lambda r: self._note(True, f"failed: {r.method} {r.url} {r.failure}"))
        self.page.on("response", lambda r: self._note(r.status >= 400, f"status {r.status}: {r.url}"))
        self.page.on("request", lambda r: self._note(self._is_foreign(r.url), f"left the origin: {r.url}"))

    def open(self, path: str) -> None:
        """Go to a path below the viewer's base, such as ``viewer?StudyInstanceUIDs=...``."""
        self.page.goto(f"{self.origin}/viewer/{path}", wait_until="domcontentloaded")

    def open_study(self, study_uid: str) -> None:
        """Go to a study by its deep link."""
        self.open(f"viewer?StudyInstanceUIDs={study_uid}")

    def wait_for(self, probe: Callable[[], T | None], what: str, seconds: float = SECONDS) -> T:
        """Return the first value of ``probe`` that is not None or False; lets the page go on meanwhile.

        Raises ``TimedOut`` with what the page shows and complains of.
        """
        deadline = time.monotonic() + seconds
        while (found := probe()) is None or found is False:
            if time.monotonic() > deadline:
                raise TimedOut(f"waited {seconds:g} s for {what}; {self.problems}; {self.text()[:500]!r}")
            self.page.wait_for_timeout(POLL_MILLISECONDS)
        return found

    def text(self) -> str:
        """Return the text of the page."""
        return self.page.inner_text("body")

    def wait_for_rows(self, count: int) -> None:
        """Wait until the study list says that it has ``count`` rows."""
        self.wait_for(lambda: re.search(rf"\b1-\d+ of {count}\b", self.text()), f"a list of {count} studies")

    def wait_for_picture(self) -> Shot:
        """Return what the largest viewport shows once that is a picture."""
        return self.wait_for(self._picture, "a picture on a canvas")

    def viewport(self) -> Shot | None:
        """Return a screenshot of the largest canvas that could be a viewport, None without one."""
        best: tuple[float, Locator] | None = None
        for canvas in self.page.locator("canvas").all():
            box = self._try(partial(canvas.bounding_box, timeout=ELEMENT_MILLISECONDS))
            if box is not None and min(box["width"], box["height"]) > SMALLEST_VIEWPORT:
                area = box["width"] * box["height"]
                best = (area, canvas) if best is None or area > best[0] else best
        return None if best is None else self.shot(best[1])

    def shot(self, locator: Locator) -> Shot | None:
        """Return a screenshot of an element, None when it has gone."""
        png = self._try(lambda: locator.screenshot(timeout=5 * ELEMENT_MILLISECONDS))
        return None if png is None else np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def complaints(self) -> list[str]:
        """Return all that went wrong so far: in the console, on the wire, in a dialog on the page."""
        text = self.text()
        return [*self.problems, *([text] if "something went wrong" in text.lower() else [])]

    def _picture(self) -> Shot | None:
        shot = self.viewport()
        return shot if shot is not None and shows_picture(shot) else None

    def _try(self, action: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the action returns
        # The viewer replaces elements as it likes.
        with suppress(Error):
            return action()
        return None

    def _is_foreign(self, url: str) -> bool:
        return not url.startswith((f"{self.origin}/", *_OWN_SCHEMES))

    def _note(self, is_problem: bool, text: str) -> None:
        if is_problem:
            self.problems.append(text)
