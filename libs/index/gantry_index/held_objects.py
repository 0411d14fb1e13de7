"""The objects that a hold covers, as far as the index knows them, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from gantry_index.search import Database

_PAGE = 1000

# By primary key: the keys of a partition's objects begin alike.
_OF_PARTITION = """
SELECT object_key FROM reception
WHERE object_key > $1 AND object_key < $2 AND decided_at >= $3 AND NOT is_gone
ORDER BY object_key LIMIT $4
"""

_OF_STUDIES = """
SELECT k.object_key FROM (
    SELECT i.object_key FROM study AS s JOIN instance AS i ON i.study_pk = s.id
    WHERE s.partition = $1 AND ($2::text IS NULL OR s.study_uid = $2)
      AND ($3::text IS NULL OR s.patient_id = $3)
    UNION
    SELECT h.object_key FROM hidden AS h
    WHERE h.partition = $1 AND h.study_uid = $2 AND h.purged_by IS NULL
) AS k JOIN reception AS r ON r.object_key = k.object_key
WHERE k.object_key > $4 AND r.decided_at >= $5
ORDER BY k.object_key LIMIT $6
"""


async def held_object_keys(
    database: Database, partition: str, study_uid: str | None, patient_id: str | None, since: datetime
) -> AsyncIterator[list[str]]:
    """Yield the keys of a study's, a patient's or the partition's objects decided since then.

    Of a patient those that are shown; of a study hidden ones too. Raises ``Unavailable``.
    """
    after = f"o/{partition}/"
    # The character after the slash: an upper bound of every key of the partition.
    end = f"o/{partition}0"
    while True:
        if study_uid is None and patient_id is None:
            rows = await database.fetch(_OF_PARTITION, after, end, since, _PAGE)
        else:
            rows = await database.fetch(_OF_STUDIES, partition, study_uid, patient_id, after, since, _PAGE)
        if not rows:
            return
        yield [row["object_key"] for row in rows]
        after = rows[-1]["object_key"]
