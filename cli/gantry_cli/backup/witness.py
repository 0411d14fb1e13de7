"""What a running archive answers, kept with a backup: a drill asks the restored one the same.

Answers hold patient data, so only their digests are kept, and these sealed like everything else. What
an archive says of itself (its own address) is taken out. Every question is asked twice, before and
after the backup; what changed in between says nothing and is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx
from gantry_dicom.errors import GantryError, Unavailable

from gantry_cli.access import AccessOptions, gateway_root
from gantry_cli.tokens import ANSWER_SECONDS

JSON = "application/dicom+json"
INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# Who may do what, as the service of logins tells it.
REGISTERS = ("users", "clients", "application-entities")
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID = "0020000D", "0020000E", "00080018"
_BOUNDARY = re.compile(r'boundary="?([^";]+)')


@dataclass(frozen=True, slots=True)
class Question:
    """A path below the archive's root, and what is accepted of it."""

    path: str
    accept: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: status and the digest of what it said."""

    path: str
    accept: str
    status: int
    sha256: str


class Witness:
    """Asks one archive."""

    def __init__(self, access: AccessOptions) -> None:
        self._root, auth = gateway_root(access, None)
        self._http = httpx.Client(base_url=self._root, auth=auth, timeout=ANSWER_SECONDS)
        self._has_login = auth is not None

    def questions(self, partitions: Iterable[str], studies: int) -> list[Question]:
        """Return what to ask about the newest so many studies of each partition, and about people."""
        found: list[Question] = []
        for partition in partitions:
            base = "/dicom-web" if partition == "main" else f"/partitions/{partition}/dicom-web"
            for study in self._matches(f"{base}/studies?limit={studies}"):
                found += self._about_study(base, study[STUDY_INSTANCE_UID]["Value"][0])
        if self._has_login:
            found += [Question(f"/auth/admin/{name}", "application/json") for name in REGISTERS]
        return found

    def ask(self, question: Question) -> Answer:
        """Return what the archive answers. Raises ``Unavailable``."""
        answer = self._get(question)
        body = answer.content.replace(self._root.encode(), b"")
        boundary = _BOUNDARY.search(answer.headers.get("content-type", ""))
        if boundary:
            body = body.replace(boundary[1].encode(), b"")
        digest = hashlib.sha256(body).hexdigest()
        return Answer(question.path, question.accept, answer.status_code, digest)

    def _about_study(self, base: str, study_instance_uid: str) -> Iterator[Question]:
        study = f"{base}/studies/{study_instance_uid}"
        for path in (
            f"{base}/studies?StudyInstanceUID={study_instance_uid}&includefield=all",
            f"{study}/series?includefield=all",
            f"{study}/instances?includefield=all",
            f"{study}/metadata",
        ):
            yield Question(path, JSON)
        for instance in self._matches(f"{study}/instances?limit=1"):
            series, sop = (
                instance[keyword]["Value"][0] for keyword in (SERIES_INSTANCE_UID, SOP_INSTANCE_UID)
            )
            yield Question(f"{study}/series/{series}/instances/{sop}", INSTANCE)

    def _matches(self, path: str) -> list[dict[str, dict[str, list[str]]]]:
        answer = self._get(Question(path, JSON))
        if answer.status_code == httpx.codes.NO_CONTENT:
            return []
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"{path} is answered with {answer.status_code}")
        found: list[dict[str, dict[str, list[str]]]] = answer.json()
        return found

    def _get(self, question: Question) -> httpx.Response:
        try:
            return self._http.get(question.path, headers={"Accept": question.accept})
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._root} does not answer: {error}") from error


def witness_of(access: AccessOptions) -> Witness | None:
    """Return the running archive's witness, ``None`` where none runs here."""
    try:
        return Witness(access)
    except GantryError:
        return None


def stood_still(before: Iterable[Answer], after: Iterable[Answer]) -> list[Answer]:
    """Return the answers that were the same both times, of those that were given."""
    return [
        first for first, second in zip(before, after, strict=True) if first == second and first.status < 300
    ]
