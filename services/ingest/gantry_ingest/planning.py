"""Which instances a C-MOVE or C-GET sends: from unique keys to the plan that WADO-RS has too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from gantry_dicom.find_answer import first_value, match
from gantry_dicom.information_models import UNIQUE_KEYS
from gantry_dicom.query import Condition, Exact, Level, Query, UidList
from gantry_dicom.retrieve_identifier import RetrieveKeys
from gantry_index.reader import IndexReader
from gantry_index.records import StoredInstance

_PAGE = 1000
# UIDs looked up in one statement.
_UIDS = 500


async def instances_of(index: IndexReader, partition: str, keys: RetrieveKeys) -> list[StoredInstance]:
    """Return the instances under ``keys``, study by study, each once. Raises ``Unavailable``."""
    found: dict[tuple[str, str], StoredInstance] = {}
    is_under = _test(keys)
    if keys.level is Level.INSTANCE and not (keys.study_uids and keys.series_uids):
        for first in range(0, len(keys.sop_uids), _UIDS):
            uids = keys.sop_uids[first : first + _UIDS]
            for one in await index.instances_by_sop_uid(partition, uids):
                if is_under(one):
                    found[one.study_uid, one.sop_uid] = one
        return list(found.values())
    async for study_uid in _studies(index, partition, keys):
        for series_uid in keys.series_uids or (None,):
            sop_uid = keys.sop_uids[0] if len(keys.sop_uids) == 1 else None
            for one in await index.instances(partition, study_uid, series_uid, sop_uid):
                if is_under(one):
                    found[one.study_uid, one.sop_uid] = one
    return list(found.values())


def _test(keys: RetrieveKeys) -> Callable[[StoredInstance], bool]:
    """Return a test whether an instance is under ``keys``."""
    studies, series, instances = map(frozenset, (keys.study_uids, keys.series_uids, keys.sop_uids))

    def is_under(one: StoredInstance) -> bool:
        checks = ((studies, one.study_uid), (series, one.series_uid), (instances, one.sop_uid))
        return all(not wanted or uid in wanted for wanted, uid in checks)

    return is_under


async def _studies(index: IndexReader, partition: str, keys: RetrieveKeys) -> AsyncIterator[str]:
    """Yield the studies concerned: those named, of the patient where one is named, or of the series."""
    if keys.patient_id is None and keys.study_uids:
        for study_uid in dict.fromkeys(keys.study_uids):
            yield study_uid
        return
    conditions: list[Condition] = []
    level = Level.STUDY
    if keys.patient_id is not None:
        conditions.append(Exact((UNIQUE_KEYS[Level.PATIENT],), keys.patient_id))
    if keys.study_uids:
        conditions.append(UidList((UNIQUE_KEYS[Level.STUDY],), keys.study_uids))
    elif keys.series_uids:
        level = Level.SERIES
        conditions.append(UidList((UNIQUE_KEYS[Level.SERIES],), keys.series_uids))
    seen = set[str]()
    query = Query(level, partition, conditions=tuple(conditions), include_parents=True, limit=_PAGE)
    while True:
        page = await index.search(query)
        for document in page.documents:
            study_uid = first_value(match(document), UNIQUE_KEYS[Level.STUDY])
            if study_uid not in seen:
                seen.add(study_uid)
                yield study_uid
        if not page.remaining or page.end is None:
            return
        query = replace(query, after=page.end)
