"""What the index says of an arrival, for the rules to look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from gantry_dicom.facts import BASE_MARK
from gantry_dicom.query import Exact, Level, Query
from gantry_index.reader import IndexReader
from gantry_index.records import StoredInstance

from gantry_ingest.routing.episodes import Episode
from gantry_ingest.routing.rules import Arrival, Unit

_STUDY_INSTANCE_UID = 0x0020000D
_MODALITY, _SERIES_UID = "00080060", "0020000E"
_STUDY_DESCRIPTION, _SERIES_DESCRIPTION = "00081030", "0008103E"
_MANY_SERIES = 10_000


@dataclass(frozen=True, slots=True)
class IndexedSeries:
    """A series as the index has it."""

    series_uid: str
    modality: str
    description: str
    study_description: str


async def series_of(index: IndexReader, partition: str, study_uid: str) -> list[IndexedSeries]:
    """Return the series of a study. Raises ``Unavailable``."""
    query = Query(
        Level.SERIES,
        partition,
        conditions=(Exact((_STUDY_INSTANCE_UID,), study_uid),),
        include_parents=True,
        limit=_MANY_SERIES,
    )
    page = await index.search(query)
    documents = [orjson.loads(document.replace(BASE_MARK, b"")) for document in page.documents]
    return [
        IndexedSeries(
            _text(document, _SERIES_UID),
            _text(document, _MODALITY),
            _text(document, _SERIES_DESCRIPTION),
            _text(document, _STUDY_DESCRIPTION),
        )
        for document in documents
    ]


def arrivals_of(episode: Episode, series: Sequence[IndexedSeries]) -> list[tuple[Arrival, str]]:
    """Return the study of ``episode``, and each of its series that came, with the series' UID."""
    moment = datetime.fromtimestamp(episode.last_received_us / 1e6, UTC)
    description = series[0].study_description if series else ""

    def arrival(unit: Unit, of: Iterable[IndexedSeries]) -> Arrival:
        chosen = list(of)
        return Arrival(
            episode.partition,
            unit,
            sorted(episode.sources),
            [one.modality for one in chosen],
            description,
            [one.description for one in chosen],
            moment,
        )

    came = [one for one in series if one.series_uid in episode.series]
    return [
        (arrival(Unit.STUDY, series), ""),
        *((arrival(Unit.SERIES, [one]), one.series_uid) for one in came),
    ]


def missing_of(episode: Episode, stored: Sequence[StoredInstance]) -> set[str]:
    """Return the SOP Instance UIDs that came and that the index does not show (yet)."""
    shown = {instance.sop_uid for instance in stored}
    return set().union(*episode.series.values()) - shown


def _text(document: dict[str, object], tag: str) -> str:
    element = document.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""
