"""Answers of the patient level, for C-FIND's Patient Root (PS3.4 Table C.6-1)."""

from __future__ import annotations

from gantry_dicom.query import Query

from gantry_index import documents
from gantry_index.document_filter import find
from gantry_index.search import Database, Row, SearchPage

_STATEMENT = """SELECT c.found, c.last, p.patient_id, p.issuer, p.name, p.birth_date, p.sex, n.*
FROM counted c
LEFT JOIN (
    page JOIN patient p ON p.id = page.patient_pk
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS studies, coalesce(sum(series_count), 0)::int AS series,
               coalesce(sum(instance_count), 0)::int AS instances
        FROM study WHERE study.patient_pk = p.id
    ) n
) ON true
ORDER BY page.position"""

_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


async def search_patients(database: Database, query: Query, retrieve_ae_title: str) -> SearchPage:
    """Return the page of patients, by Patient ID and issuer. Raises ``Unavailable`` and ``BadRequest``.

    Patients have no documents: only the attributes of the table are answered.
    """
    found = await find(database, query, _STATEMENT)
    answers = tuple(_answer(row, retrieve_ae_title) for row in found.rows if row["patient_id"] is not None)
    return found.page(answers)


def _answer(row: Row, retrieve_ae_title: str) -> bytes:
    birth_date = row["birth_date"]
    element = documents.element
    parts = (
        element("00080054", "AE", [retrieve_ae_title]) if retrieve_ae_title else b"",
        element("00100010", "PN", _person_name(row["name"])),
        element("00100020", "LO", [row["patient_id"]]),
        element("00100021", "LO", [row["issuer"]]) if row["issuer"] else b"",
        element("00100030", "DA", [birth_date.isoformat().replace("-", "")] if birth_date else []),
        element("00100040", "CS", [row["sex"]] if row["sex"] else []),
        element("00201200", "IS", [row["studies"]]),
        element("00201202", "IS", [row["series"]]),
        element("00201204", "IS", [row["instances"]]),
    )
    return b"{" + b"".join(parts).removesuffix(b",") + b"}"


def _person_name(name: str | None) -> list[dict[str, str]]:
    """Return the value of a PN (PS3.18 F.2.2): its component groups that are not empty."""
    groups = dict(zip(_NAME_GROUPS, (name or "").split("="), strict=False))
    value = {group: text for group, text in groups.items() if text}
    return [value] if value else []
