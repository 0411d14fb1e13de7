"""The names of things in the bucket.

::

    o/<partition>/<hh>/<batch>/<ordinal>   a received object
    j/<hh>/<batch>                         a journal entry, until its batch is safely indexed
    m/<partition>/<day>/<batch>            a manifest, for ever
    a/<partition>/<hh>/<scope>/<revision>  an amendment of a study or patient, for ever
    h/<partition>/<hh>/<batch>/<ordinal>/<digest>.<length>.<rest>  a corrected header of that object
    w/<partition>/<hh>/<scope>/<revision>  that the amendment may wait to be applied, until it is
    c/<partition>/<hh>/<transaction>/...   a storage commitment: its request, report and end
    v/<partition>/<hh>/<transaction>       that the commitment may not have ended, until it has
    f/<day>/<batch>                        failed associations of a few seconds, until they are forgotten
    r/<partition>/<hh>/<job>               a routing job
    s/<partition>/<hh>/<job>               that the job may not have ended, until it has
    d, k, x, y                             holds, purges, moves and certificates: ``retention_keys``

``batch`` is a ULID, ``hh`` two hex digits of its hash that spread the load over the store's
key ranges, ``day`` the UTC day in the ULID: whoever writes a batch's manifest finds the same
key. ``scope`` and ``transaction`` are hashes of a study's and a transaction's UID, ``scope`` also of a
patient's identifier. No key ever holds any of them: those are the sender's words, a key is ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gantry_objectstore.errors import BadKey

OBJECT_PREFIX = "o/"
JOURNAL_PREFIX = "j/"
MANIFEST_PREFIX = "m/"
AMENDMENT_PREFIX = "a/"
HEADER_PREFIX = "h/"
WAITING_PREFIX = "w/"
COMMITMENT_PREFIX = "c/"
OPEN_COMMITMENT_PREFIX = "v/"
FAILURE_PREFIX = "f/"
JOB_PREFIX = "r/"
OPEN_JOB_PREFIX = "s/"
MAX_ORDINAL = 9999
MAX_REVISION = 99_999_999

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_PARTITION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SCOPE = re.compile(r"[0-9a-f]{40}")
_HEADER = re.compile(r"[0-9a-f]{40}\.([1-9][0-9]{0,14})\.([1-9][0-9]{0,14})")
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*")
_MAX_KEY_LENGTH = 512
_RANDOM_BITS = 80
# ULIDs reach beyond what a datetime can say.
_LAST_MILLISECOND = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """The parts of a received object's key."""

    partition: str
    batch: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class ManifestKey:
    """The parts of a manifest's key."""

    partition: str
    day: str
    batch: str


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """The parts of a corrected header's key.

    A corrected object reads as the ``length`` bytes of the header, and behind them the received
    object from byte ``rest`` on.
    """

    object_key: str
    length: int
    rest: int


@dataclass(frozen=True, slots=True)
class AmendmentKey:
    """The parts of an amendment's key."""

    partition: str
    scope: str
    revision: int


def check_key(key: str) -> str:
    """Return ``key`` when it is one: plain names between slashes, which leave no root. Raises ``BadKey``."""
    if len(key) > _MAX_KEY_LENGTH or not _KEY.fullmatch(key):
        raise BadKey("not a key")
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` when it is empty or whole segments ending in a slash. Raises ``BadKey``."""
    if len(prefix) > _MAX_KEY_LENGTH or not _PREFIX.fullmatch(prefix):
        raise BadKey("not a prefix of keys")
    return prefix


def is_partition(name: str) -> bool:
    """Whether ``name`` may name a partition: 1-63 lower-case letters, digits, inner hyphens."""
    return _PARTITION.fullmatch(name) is not None


def check_partition(name: str) -> str:
    """Return ``name`` when it may name a partition. Raises ``BadKey``."""
    if not is_partition(name):
        raise BadKey("not a partition name")
    return name


def is_batch(text: str) -> bool:
    """Whether ``text`` is a ULID in its canonical form, of a day that a calendar can name."""
    return _ULID.fullmatch(text) is not None and _milliseconds(text) <= _LAST_MILLISECOND


def check_batch(text: str) -> str:
    """Return ``text`` when it is a batch id. Raises ``BadKey``."""
    if not is_batch(text):
        raise BadKey("not a batch id")
    return text


def new_batch_id() -> str:
    """Return a fresh ULID of now; see ``BatchIds`` where their order matters."""
    return _ulid(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(_RANDOM_BITS // 8)))


class BatchIds:
    """Makes ULIDs that only ever rise, even when the wall clock is set back.

    Within one process batches are ordered exactly by their ids; the order key relies on it.
    """

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> str:
        """Return an id greater than every one before."""
        milliseconds = int(self._wall_clock() * 1000)
        random = int.from_bytes(os.urandom(_RANDOM_BITS // 8))
        with self._lock:
            value = max((milliseconds << _RANDOM_BITS) | random, self._last + 1)
            self._last = value
        return _ulid(value >> _RANDOM_BITS, value & ((1 << _RANDOM_BITS) - 1))


def batch_time(batch: str) -> datetime:
    """Return the time in a batch id (UTC). Raises ``BadKey``."""
    return datetime.fromtimestamp(_milliseconds(check_batch(batch)) / 1000, UTC)


def batch_day(batch: str) -> str:
    """Return the UTC day in a batch id as ``yyyy-mm-dd``. Raises ``BadKey``."""
    return batch_time(batch).date().isoformat()


def batch_folder(partition: str, batch: str) -> str:
    """Return the prefix under which the objects of a batch lie. Raises ``BadKey``."""
    return f"{OBJECT_PREFIX}{check_partition(partition)}/{_spread(batch)}/{batch}/"


def object_key(partition: str, batch: str, ordinal: int) -> str:
    """Return the key of the object at ``ordinal`` (1-9999) of a batch. Raises ``BadKey``."""
    if not 1 <= ordinal <= MAX_ORDINAL:
        raise BadKey("not an ordinal")
    return f"{batch_folder(partition, batch)}{ordinal:04d}"


def journal_key(batch: str) -> str:
    """Return the key of a batch's journal entry. Raises ``BadKey``."""
    return f"{JOURNAL_PREFIX}{_spread(batch)}/{batch}"


def manifest_day_folder(partition: str, day: str) -> str:
    """Return the prefix of a partition's manifests of one day (``yyyy-mm-dd``). Raises ``BadKey``."""
    return check_prefix(f"{MANIFEST_PREFIX}{check_partition(partition)}/{day}/")


def manifest_key(partition: str, batch: str) -> str:
    """Return the key of a batch's manifest. Raises ``BadKey``."""
    return f"{manifest_day_folder(partition, batch_day(batch))}{batch}"


def parse_object_key(key: str) -> ObjectKey:
    """Return the parts of a received object's key; only the exact form is one. Raises ``BadKey``."""
    segments = key.split("/")
    if len(segments) == 5 and segments[4].isascii() and segments[4].isdigit():
        parsed = ObjectKey(segments[1], segments[3], int(segments[4][:8]))
        if object_key(parsed.partition, parsed.batch, parsed.ordinal) == key:
            return parsed
    raise BadKey("not the key of a received object")


def parse_journal_key(key: str) -> str:
    """Return the batch of a journal entry's key; only the exact form is one. Raises ``BadKey``."""
    batch = key.rsplit("/", 1)[-1]
    if journal_key(batch) != key:
        raise BadKey("not the key of a journal entry")
    return batch


def parse_manifest_key(key: str) -> ManifestKey:
    """Return the parts of a manifest's key; only the exact form is one. Raises ``BadKey``."""
    segments = key.split("/")
    if len(segments) == 4 and manifest_key(segments[1], segments[3]) == key:
        return ManifestKey(*segments[1:])
    raise BadKey("not the key of a manifest")


def amendment_scope(study_uid: str) -> str:
    """Return what stands for a study in the keys of its amendments."""
    return hashed(study_uid)


def patient_scope(patient_id: str, issuer_of_patient_id: str) -> str:
    """Return what stands for a patient in the keys of its amendments."""
    # No UID has a control character in it, and neither has an identifier (PS3.5 6.2, LO).
    return hashed(f"patient\x1e{patient_id}\x1e{issuer_of_patient_id}")


def header_folder(object_key: str) -> str:
    """Return the prefix of the corrected headers of a received object. Raises ``BadKey``."""
    parse_object_key(object_key)
    return f"{HEADER_PREFIX}{object_key.removeprefix(OBJECT_PREFIX)}/"


def header_key(object_key: str, header: bytes, rest: int) -> str:
    """Return the key of a corrected header; ``rest`` is where the received object goes on behind it.

    The same header always has the same key. Raises ``BadKey``.
    """
    digest = hashlib.sha256(header).hexdigest()[:40]
    return f"{header_folder(object_key)}{digest}.{len(header)}.{rest}"


def parse_header_key(key: str) -> HeaderKey:
    """Return the parts of a corrected header's key; only the exact form is one. Raises ``BadKey``."""
    folder, _, name = key.rpartition("/")
    found = _HEADER.fullmatch(name)
    object_key = f"{OBJECT_PREFIX}{folder.removeprefix(HEADER_PREFIX)}"
    if found is None or f"{folder}/" != header_folder(object_key):
        raise BadKey("not the key of a corrected header")
    return HeaderKey(object_key, int(found[1]), int(found[2]))


def commitment_folder(partition: str, transaction_uid: str) -> str:
    """Return the prefix of a commitment's records. Raises ``BadKey``."""
    return f"{COMMITMENT_PREFIX}{scope_folder(partition, hashed(transaction_uid))}"


def open_commitment_key(partition: str, transaction_uid: str) -> str:
    """Return the key that says that a commitment may not have ended. Raises ``BadKey``."""
    return f"{OPEN_COMMITMENT_PREFIX}{scope_folder(partition, hashed(transaction_uid))}".rstrip("/")


def commitment_folder_of(open_key: str) -> str:
    """Return the prefix of the records to which an open commitment's key leads. Raises ``BadKey``."""
    segments = open_key.split("/")
    if len(segments) != 4 or f"{segments[0]}/" != OPEN_COMMITMENT_PREFIX:
        raise BadKey("not the key of an open commitment")
    folder = scope_folder(segments[1], segments[3])
    if f"{OPEN_COMMITMENT_PREFIX}{folder}".rstrip("/") != open_key:
        raise BadKey("not the key of an open commitment")
    return f"{COMMITMENT_PREFIX}{folder}"


def failure_day_folder(day: str) -> str:
    """Return the prefix of the failed associations of one day (``yyyy-mm-dd``). Raises ``BadKey``."""
    return check_prefix(f"{FAILURE_PREFIX}{day}/")


def failure_key(batch: str) -> str:
    """Return the key of a batch of failed associations. Raises ``BadKey``."""
    return f"{failure_day_folder(batch_day(batch))}{batch}"


def amendment_folder(partition: str, scope: str) -> str:
    """Return the prefix of the amendments of a study or patient. Raises ``BadKey``."""
    return f"{AMENDMENT_PREFIX}{scope_folder(partition, scope)}"


def amendment_key(partition: str, scope: str, revision: int) -> str:
    """Return the key of amendment ``revision`` (from 1) of a study or patient. Raises ``BadKey``."""
    return f"{amendment_folder(partition, scope)}{revision_name(revision)}"


def waiting_key(partition: str, scope: str, revision: int) -> str:
    """Return the key that says that an amendment may wait to be applied. Raises ``BadKey``."""
    return f"{WAITING_PREFIX}{scope_folder(partition, scope)}{revision_name(revision)}"


def parse_amendment_key(key: str) -> AmendmentKey:
    """Return the parts of an amendment's key; only the exact form is one. Raises ``BadKey``."""
    return parse_revision(key, amendment_key, "not the key of an amendment")


def parse_waiting_key(key: str) -> AmendmentKey:
    """Return which amendment may wait; only the exact form is a key. Raises ``BadKey``."""
    return parse_revision(key, waiting_key, "not the key of a waiting amendment")


def job_key(partition: str, job: str) -> str:
    """Return the key of a routing job by its name, a hash. Raises ``BadKey``."""
    return f"{JOB_PREFIX}{scope_folder(partition, job)}".rstrip("/")


def open_job_key(partition: str, job: str) -> str:
    """Return the key that says that a routing job may not have ended. Raises ``BadKey``."""
    return f"{OPEN_JOB_PREFIX}{scope_folder(partition, job)}".rstrip("/")


def parse_open_job_key(key: str) -> tuple[str, str]:
    """Return partition and job of an open job's key; only the exact form is one. Raises ``BadKey``."""
    segments = key.split("/")
    if len(segments) == 4 and open_job_key(segments[1], segments[3]) == key:
        return segments[1], segments[3]
    raise BadKey("not the key of an open job")


def parse_revision(key: str, make: Callable[[str, str, int], str], otherwise: str) -> AmendmentKey:
    """Return the parts of a key as ``make`` makes it; only the exact form is one. Raises ``BadKey``."""
    segments = key.split("/")
    if len(segments) == 5 and segments[4].isascii() and segments[4].isdigit():
        parsed = AmendmentKey(segments[1], segments[3], int(segments[4][:8]))
        if make(parsed.partition, parsed.scope, parsed.revision) == key:
            return parsed
    raise BadKey(otherwise)


def hashed(uid: str) -> str:
    """Return what stands in keys for a sender's word."""
    return hashlib.sha256(uid.encode()).hexdigest()[:40]


def scope_folder(partition: str, scope: str) -> str:
    """Return the prefix of a scope below that of a kind of record. Raises ``BadKey``."""
    if not _SCOPE.fullmatch(scope):
        raise BadKey("not the scope of an amendment")
    return f"{check_partition(partition)}/{scope[:2]}/{scope}/"


def revision_name(revision: int) -> str:
    """Return a revision as it stands in keys. Raises ``BadKey``."""
    if not 1 <= revision <= MAX_REVISION:
        raise BadKey("not a revision")
    return f"{revision:08d}"


def _spread(batch: str) -> str:
    # The first characters of a ULID are its time: as a prefix they would send every writer
    # to the same key range.
    return hashlib.sha256(check_batch(batch).encode()).hexdigest()[:2]


def _ulid(milliseconds: int, random: int) -> str:
    value = (milliseconds << _RANDOM_BITS) | random
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def _milliseconds(ulid: str) -> int:
    value = 0
    for character in ulid[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return value
