"""Where a stack keeps its state, and what was chosen for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gantry_dicom.errors import BadRequest, NotFound
from gantry_embedded.files import private_folder, write_private

DEFAULT_STATE = Path(".gantry")
STORES = ("s3", "file")
CHOICES_FILE = "stack.json"
# Below the state folder: the secrets of service accounts that commands use, a file each.
CLIENTS_FOLDER = "clients"
SEAL_KEYS_FILE = "seal-keys"
OBJECTS_FOLDER, S3_FOLDER = "objects", "s3"
# The account with every right, for commands of the machine's owner.
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the caller asks for; 0 and None mean "as last time, or choose"."""

    state: Path
    store: str | None = None
    http_port: int = 0
    dimse_port: int = 0
    viewer: Path | None = None
    login: bool | None = None
    # Where what is said goes to a log, which is no place for a password.
    in_background: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """What a state folder was begun with, and keeps."""

    store: str
    login: bool


def choices(options: StackOptions) -> Choices:
    """Return what holds for this state folder, and remember it.

    People have to log in unless the folder was begun without. Raises ``BadRequest`` when the folder
    already holds the other kind of object store (the index would point to objects that the new store
    does not have), and when what was protected should be opened.
    """
    file = private_folder(options.state) / CHOICES_FILE
    earlier = json.loads(file.read_text()) if file.exists() else {}
    store: str | None = earlier.get("store")
    if store is not None and options.store not in (None, store):
        raise BadRequest(
            f"{options.state} holds a stack with --store {store}; name another folder with --state"
        )
    login: bool | None = earlier.get("login")
    if login and options.login is False:
        raise BadRequest(
            f"{options.state} holds an archive with login, which is not opened; "
            "name another folder with --state"
        )
    if options.login is not None:
        login = options.login
    chosen = Choices(store or options.store or STORES[0], login is not False)
    write_private(file, json.dumps(asdict(chosen)))
    return chosen


def choices_of(state: Path) -> Choices:
    """Return what a state folder was begun with. Raises ``NotFound`` for a folder without a stack."""
    try:
        document = json.loads((state / CHOICES_FILE).read_text())
    except FileNotFoundError:
        raise NotFound(f"{state} holds no stack") from None
    return Choices(document["store"], document.get("login") is not False)


def store_of(state: Path) -> str:
    """Return which kind of object store a state folder holds. Raises ``NotFound`` for a folder without."""
    return choices_of(state).store


@dataclass(frozen=True, slots=True)
class StackFacts:
    """What others need to know about a running stack."""

    dicomweb_url: str
    dimse_host: str
    dimse_port: int
    ae_title: str
    store: str
    viewer_url: str = ""
    # Who issues tokens, and where the administrator's generated password lies; empty without login.
    issuer: str = ""
    password_file: str = ""

    def as_document(self) -> dict[str, object]:
        """Return the facts as they stand in the state file."""
        return asdict(self)
