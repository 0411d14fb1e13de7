"""``gantry viewer fetch``, and where a stack finds the viewer: it runs as well without one."""

from __future__ import annotations

from pathlib import Path

from gantry_dicom.errors import BadRequest, GantryError

from gantry_cli.exits import OK
from gantry_cli.terminal import say
from gantry_cli.viewer_package import VERSION, fetch

DEFAULT_TOOLS = Path(".gantry-tools")
NO_VIEWER = "none; `gantry viewer fetch` gets one"


def fetch_viewer(tools: Path, *, optional: bool) -> int:
    """Fetch the viewer; that it cannot be had is no failure when it is ``optional``.

    Raises ``NotFetched`` or ``CannotProcess`` otherwise.
    """
    try:
        folder = fetch(tools.absolute(), say)
    except GantryError as error:
        if not optional:
            raise
        say(f"No viewer: {error.detail}.")
        say("Gantry runs without it; `gantry viewer fetch` tries again.")
        return OK
    say(f"The viewer is in {folder}")
    return OK


def chosen_viewer(given: Path | None) -> Path | None:
    """Return the viewer's folder that was asked for, or one fetched earlier. Raises ``BadRequest``."""
    if given is None:
        return find_viewer()
    if not (given / "index.html").is_file():
        raise BadRequest(f"{given} holds no viewer; `gantry viewer fetch` makes such a folder")
    return given.absolute()


def find_viewer(tools: Path = DEFAULT_TOOLS) -> Path | None:
    """Return the folder of a viewer fetched earlier, None if there is none."""
    folder = tools.absolute() / f"viewer-{VERSION}"
    return folder if (folder / "index.html").is_file() else None
