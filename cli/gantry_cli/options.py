"""Where a stack keeps its state, and what was chosen for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gantry_dicom.errors import BadRequest
from gantry_embedded.files import private_folder, write_private

DEFAULT_STATE = Path(".gantry")
STORES = ("s3", "file")
CHOICES_FILE = "stack.json"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the caller asks for; 0 and None mean "as last time, or choose"."""

    state: Path
    store: str | None = None
    http_port: int = 0
    dimse_port: int = 0
    viewer: Path | None = None
    login: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """What a state folder was begun with, and keeps."""

    store: str
    login: bool


def choices(options: StackOptions) -> Choices:
    """Return what holds for this state folder, and remember it.

    A folder that once asked for a login asks for ever: what was protected must not be open
    for want of an option. Raises ``BadRequest`` when the folder already holds the other kind of
    object store: the index would point to objects that the new store does not have.
    """
    file = private_folder(options.state) / CHOICES_FILE
    earlier = json.loads(file.read_text()) if file.exists() else {}
    kept: str | None = earlier.get("store")
    if kept is not None and options.store not in (None, kept):
        raise BadRequest(
            f"{options.state} holds a stack with --store {kept}; name another folder with --state"
        )
    chosen = Choices(kept or options.store or STORES[0], options.login or bool(earlier.get("login")))
    write_private(file, json.dumps(asdict(chosen)))
    return chosen


@dataclass(frozen=True, slots=True)
class StackFacts:
    """What others need to know about a running stack."""

    dicomweb_url: str
    dimse_host: str
    dimse_port: int
    ae_title: str
    store: str
    viewer_url: str = ""
    # Where the administrator's generated password lies; empty when nobody has to log in.
    password_file: str = ""

    def as_document(self) -> dict[str, object]:
        """Return the facts as they stand in the state file."""
        return asdict(self)
