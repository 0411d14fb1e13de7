"""Where objects lie that were moved, how well instances can be had, and when studies were looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from gantry.amendment.v1.amendment_pb2 import Amendment
from gantry_dicom.facts import BASE_MARK

from gantry_index.documents import ONLINE, availability
from gantry_index.pools import Connection, IndexPool
from gantry_index.search import Database, SearchPage

_KEEP = """
INSERT INTO relocated (object_key, partition, study_uid, series_uid, sop_uid, store_id)
SELECT k.object_key, $4, $5, k.series_uid, k.sop_uid, $6
FROM unnest($1::text[], $2::text[], $3::text[]) AS k(object_key, series_uid, sop_uid)
ON CONFLICT (object_key) DO UPDATE SET store_id = excluded.store_id
"""

_PLACE_RECEIVED = "UPDATE reception SET store_id = $2 WHERE object_key = ANY ($1::text[])"

_PLACE_SHOWN = """
UPDATE instance AS i SET store_id = $4 FROM study AS s
WHERE s.partition = $2 AND s.study_uid = $3 AND i.study_pk = s.id AND i.object_key = ANY ($1::text[])
"""

_OBJECTS = """
SELECT i.object_key, i.store_id, e.series_uid, i.sop_uid, i.size
FROM study AS s JOIN instance AS i ON i.study_pk = s.id JOIN series AS e ON e.id = i.series_pk
WHERE s.partition = $1 AND s.study_uid = $2 ORDER BY i.object_key
"""

# Of studies of which anything was ever moved: few, and by index. `hidden` objects are not shown.
_ELSEWHERE = """
SELECT l.study_uid, l.series_uid, l.sop_uid, l.store_id FROM relocated AS l
JOIN study AS s ON s.partition = l.partition AND s.study_uid = l.study_uid
JOIN instance AS i ON i.study_pk = s.id AND i.sop_uid = l.sop_uid AND i.object_key = l.object_key
WHERE l.partition = $1 AND l.study_uid = ANY ($2::text[])
"""

_LOOKED_AT = """
INSERT INTO study_access AS t (partition, study_uid, day)
SELECT DISTINCT k.partition, k.study_uid, $3::date
FROM unnest($1::text[], $2::text[]) AS k(partition, study_uid)
ON CONFLICT (partition, study_uid) DO UPDATE SET day = excluded.day WHERE t.day < excluded.day
"""

# Which study, series or instance an answer is about, as its Retrieve URL says.
_ABOUT = re.compile(
    rb'"00081190":\{"vr":"UR","Value":\["' + re.escape(BASE_MARK)
    + rb'/studies/([0-9.]+)(?:/series/([0-9.]+))?(?:/instances/([0-9.]+))?"\]\}'
)  # fmt: skip

# PS3.3 C.4.23.1.1: the best first. What is made of several is as available as the worst of them.
AVAILABILITIES = ("ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class PlacedObject:
    """A shown object and the store in which it lies."""

    object_key: str
    store_id: str
    series_uid: str
    sop_uid: str
    size: int


async def apply_relocation(connection: Connection, amendment: Amendment) -> None:
    """Say of the objects named in which store they are; the caller holds the study's lock."""
    keys = [reception.object_key for reception in amendment.receptions]
    partition, study_uid = amendment.partition, amendment.study_instance_uid
    await connection.execute(
        _KEEP,
        keys,
        [reception.series_instance_uid for reception in amendment.receptions],
        [reception.sop_instance_uid for reception in amendment.receptions],
        *(partition, study_uid, amendment.store_id),
    )
    await connection.execute(_PLACE_RECEIVED, keys, amendment.store_id)
    await connection.execute(_PLACE_SHOWN, keys, partition, study_uid, amendment.store_id)


async def placed_objects(database: Database, partition: str, study_uid: str) -> list[PlacedObject]:
    """Return what is shown of a study with the stores it lies in. Raises ``Unavailable``."""
    return [PlacedObject(*row.values()) for row in await database.fetch(_OBJECTS, partition, study_uid)]


async def note_looked_at(pool: IndexPool, studies: Sequence[tuple[str, str]], day: date) -> None:
    """Keep that somebody looked at studies (partition and UID) on that day. Raises ``Unavailable``."""
    await pool.execute(_LOOKED_AT, [each[0] for each in studies], [each[1] for each in studies], day)


async def truly_available(
    database: Database, partition: str, page: SearchPage, stores: Mapping[str, str]
) -> SearchPage:
    """Return a page whose answers say how well their instances can be had.

    ``stores`` has the availability of each store by its id; of one that it does not name nothing can
    be had. Raises ``Unavailable``.
    """
    about = [_ABOUT.search(document) for document in page.documents]
    studies = sorted({match[1].decode() for match in about if match is not None})
    rows = await database.fetch(_ELSEWHERE, partition, studies) if studies else []
    worst: dict[tuple[str, ...], int] = {}
    for row in rows:
        rank = AVAILABILITIES.index(stores.get(row["store_id"], AVAILABILITIES[-1]))
        path = (row["study_uid"], row["series_uid"], row["sop_uid"])
        for length in (1, 2, 3):
            worst[path[:length]] = max(worst.get(path[:length], 0), rank)
    if not any(worst.values()):
        return page
    documents = [
        document if match is None else _say(document, worst.get(_path(match), 0))
        for document, match in zip(page.documents, about, strict=True)
    ]
    return replace(page, documents=tuple(documents))


def _path(match: re.Match[bytes]) -> tuple[str, ...]:
    return tuple(part.decode() for part in match.groups() if part is not None)


def _say(document: bytes, rank: int) -> bytes:
    # The first one is the answer's own: nothing before it in the order of tags is a sequence.
    return document.replace(ONLINE, availability(AVAILABILITIES[rank]), 1) if rank else document
