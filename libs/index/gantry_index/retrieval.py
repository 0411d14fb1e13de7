"""Where instances lie: the plan that WADO-RS, C-MOVE and C-GET share."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_index.records import StoredInstance
from gantry_index.search import Database, Row

_COLUMNS = """s.study_uid, e.series_uid, i.sop_uid, i.sop_class_uid, i.instance_number,
       i.transfer_syntax_uid, i.store_id, coalesce(i.header_key, i.object_key) AS object_key,
       coalesce(i.corrected_size, i.size) AS size, i.meta_length,
       coalesce(i.corrected_frame_table, i.frame_table) AS frame_table,
       i.object_key AS received_key, i.size AS received_size, i.data_set_digest,
       i.rows, i.columns, i.number_of_frames"""

# Every lookup below is by a unique key: study UID, then (study, SOP UID) or (study, series UID).
_MANY = f"""SELECT {_COLUMNS}
FROM study s JOIN series e ON e.study_pk = s.id JOIN instance i ON i.series_pk = e.id
WHERE s.partition = $1 AND s.study_uid = $2 {{narrowed}}
ORDER BY e.series_number, e.series_uid, i.instance_number, i.sop_uid"""  # noqa: S608 - only names

_ONE = f"""SELECT {_COLUMNS}
FROM study s JOIN instance i ON i.study_pk = s.id JOIN series e ON e.id = i.series_pk
WHERE s.partition = $1 AND s.study_uid = $2 AND i.partition = $1 AND i.sop_uid = $3"""  # noqa: S608 - only names

_BY_SOP_UID = f"""SELECT {_COLUMNS}
FROM instance i JOIN study s ON s.id = i.study_pk JOIN series e ON e.id = i.series_pk
WHERE i.partition = $1 AND i.sop_uid = ANY($2::text[])
ORDER BY i.sop_uid, i.order_key"""  # noqa: S608 - only names


async def find_instances(
    database: Database,
    partition: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> list[StoredInstance]:
    """Return the instances of a study, a series of it, or the one instance.

    Ordered by series number and UID, then instance number and UID. Empty when nothing is there,
    also when the instance is not of the series named. Raises ``Unavailable``.
    """
    if sop_uid is not None:
        found = await find_instance(database, partition, study_uid, series_uid, sop_uid)
        return [] if found is None else [found]
    if series_uid is not None:
        sql = _MANY.format(narrowed="AND e.series_uid = $3")
        return _stored(await database.fetch(sql, partition, study_uid, series_uid))
    return _stored(await database.fetch(_MANY.format(narrowed=""), partition, study_uid))


async def find_instance(
    database: Database, partition: str, study_uid: str, series_uid: str | None, sop_uid: str
) -> StoredInstance | None:
    """Return one instance, found by unique keys only: the lookup before each frame.

    ``None`` when it is not there, or not in the series named. Raises ``Unavailable``.
    """
    rows = _stored(await database.fetch(_ONE, partition, study_uid, sop_uid))
    return next((one for one in rows if series_uid in (None, one.series_uid)), None)


async def find_by_sop_uid(
    database: Database, partition: str, sop_uids: Sequence[str]
) -> list[StoredInstance]:
    """Return all instances with these SOP Instance UIDs, whatever their study (WADO-URI, commitment).

    Of one UID in several studies the first received comes first. Raises ``Unavailable``.
    """
    return _stored(await database.fetch(_BY_SOP_UID, partition, list(sop_uids)))


def _stored(rows: Sequence[Row]) -> list[StoredInstance]:
    return [
        StoredInstance(
            study_uid=row["study_uid"],
            series_uid=row["series_uid"],
            sop_uid=row["sop_uid"],
            sop_class_uid=row["sop_class_uid"],
            instance_number=row["instance_number"],
            transfer_syntax_uid=row["transfer_syntax_uid"],
            store_id=row["store_id"],
            object_key=row["object_key"],
            size=row["size"],
            meta_length=row["meta_length"],
            frame_table=row["frame_table"],
            rows=row["rows"],
            columns=row["columns"],
            number_of_frames=row["number_of_frames"],
            received_key=row["received_key"],
            received_size=row["received_size"],
            data_set_digest=row["data_set_digest"],
        )
        for row in rows
    ]
