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


def chosen_store(options: StackOptions) -> str:
    """Return the kind of object store of this state folder and remember it.

    Raises ``BadRequest`` when the folder already holds the other kind: the index would point to objects
    that the new store does not have.
    """
    file = private_folder(options.state) / CHOICES_FILE
    earlier: str | None = json.loads(file.read_text())["store"] if file.exists() else None
    if earlier is not None and options.store not in (None, earlier):
        raise BadRequest(
            f"{options.state} holds a stack with --store {earlier}; name another folder with --state"
        )
    store = earlier or options.store or STORES[0]
    write_private(file, json.dumps({"store": store}))
    return store


@dataclass(frozen=True, slots=True)
class StackFacts:
    """What others need to know about a running stack."""

    dicomweb_url: str
    dimse_host: str
    dimse_port: int
    ae_title: str
    store: str
    viewer_url: str = ""

    def as_document(self) -> dict[str, object]:
        """Return the facts as they stand in the state file."""
        return asdict(self)
