"""The reading side of the index: searches, retrieval plans, metadata, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gantry.amendment.v1.amendment_pb2 import AmendedReception
from gantry.index.v1.index_pb2 import Verdict
from gantry.reception.v1.reception_pb2 import Reception
from gantry_dicom.query import Level, Query

from gantry_index.amendments import applied_revision, covered_receptions, is_hidden
from gantry_index.corrections import is_renewing
from gantry_index.metadata import MetadataAnswer, read_metadata, read_version
from gantry_index.purging import patients_of, receptions_of, studies_of
from gantry_index.records import StoredInstance
from gantry_index.retrieval import find_by_sop_uid, find_instance, find_instances
from gantry_index.search import Database, SearchPage
from gantry_index.search_instance import search_instances
from gantry_index.search_patient import search_patients
from gantry_index.search_series import search_series
from gantry_index.search_study import search_studies
from gantry_index.tiers import truly_available

_SEARCHES = {
    Level.PATIENT: search_patients,
    Level.STUDY: search_studies,
    Level.SERIES: search_series,
    Level.INSTANCE: search_instances,
}


class IndexReader:
    """Reads the index through a pool. Every method raises ``Unavailable`` while PostgreSQL is down."""

    def __init__(self, pool: Database, stores: Mapping[str, str] | None = None) -> None:
        """``stores`` has the availability of each store by its id; without, everything is online."""
        self._pool = pool
        self._stores = stores or {}

    async def search(self, query: Query, *, retrieve_ae_title: str = "") -> SearchPage:
        """Return one page of answers to ``query``, newest studies first.

        ``retrieve_ae_title`` goes into the answers (0008,0054) unless empty. Raises
        ``BadRequest`` for a condition on an attribute that the level cannot match.
        """
        page = await _SEARCHES[query.level](self._pool, query, retrieve_ae_title)
        if not self._stores:
            return page
        return await truly_available(self._pool, query.partition, page, self._stores)

    async def instances(
        self, partition: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> list[StoredInstance]:
        """Return the instances of a study, series or SOP Instance UID, in a stable order."""
        return await find_instances(self._pool, partition, study_uid, series_uid, sop_uid)

    async def instance(
        self, partition: str, study_uid: str, series_uid: str | None, sop_uid: str
    ) -> StoredInstance | None:
        """Return one instance by its full identity, or ``None``."""
        return await find_instance(self._pool, partition, study_uid, series_uid, sop_uid)

    async def instances_by_sop_uid(self, partition: str, sop_uids: Sequence[str]) -> list[StoredInstance]:
        """Return the instances with these SOP Instance UIDs, whatever their study."""
        return await find_by_sop_uid(self._pool, partition, sop_uids)

    async def metadata(
        self, partition: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> MetadataAnswer:
        """Return DICOM JSON objects in retrieval order, and their version."""
        return await read_metadata(self._pool, partition, study_uid, series_uid, sop_uid)

    async def metadata_version(
        self, partition: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> str:
        """Return the version of what ``metadata`` would answer; empty when there is nothing."""
        return await read_version(self._pool, partition, study_uid, series_uid, sop_uid)

    async def covered(
        self, partition: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> list[AmendedReception]:
        """Return everything received of a study, series or instance that is not hidden yet."""
        return await covered_receptions(self._pool, partition, study_uid, series_uid, sop_uid)

    async def is_hidden(
        self, partition: str, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
    ) -> bool:
        """Whether something of this identity was there and has been deleted or rejected."""
        return await is_hidden(self._pool, partition, study_uid, series_uid, sop_uid)

    async def received_as(self, object_keys: Sequence[str]) -> set[str]:
        """Return the studies that objects are in, and those that they were received in."""
        return await studies_of(self._pool, object_keys)

    async def receptions(self, object_keys: Sequence[str]) -> list[Reception]:
        """Return how objects were received."""
        return await receptions_of(self._pool, object_keys)

    async def patients_of(self, partition: str, study_uid: str) -> set[tuple[str, str]]:
        """Return Patient ID and issuer of everybody whom an instance of the study names."""
        return await patients_of(self._pool, partition, study_uid)

    async def applied_revision(self, partition: str, scope: str) -> int:
        """Return up to which revision the amendments of a study are applied."""
        return await applied_revision(self._pool, partition, scope)

    async def is_renewing(self, partition: str, scope: str) -> bool:
        """Whether instances wait to be derived again because of a study's or patient's amendments."""
        return await is_renewing(self._pool, partition, scope)

    async def verdicts(self, object_keys: Sequence[str]) -> dict[str, Verdict]:
        """Return the verdicts there are, by object key."""
        rows = await self._pool.fetch(
            "SELECT object_key, state, survivor_key, reason FROM reception "
            "WHERE object_key = ANY($1::text[])",
            list(object_keys),
        )
        return {
            row["object_key"]: Verdict(
                object_key=row["object_key"],
                state=row["state"],
                survivor_key=row["survivor_key"] or "",
                reason=row["reason"] or "",
            )
            for row in rows
        }
