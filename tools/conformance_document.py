"""Make docs/conformance.md from its template and the tables that the services answer by.

Usage: python tools/conformance_document.py [--check]   (--check fails when the file would change)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from gantry_cli.conformance.catalogue import CHECKS
from gantry_dicom.query import Level
from gantry_dicom.query_keys import MATCH_KEYS
from gantry_dicom.refusals import Refusal
from gantry_dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from gantry_dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from gantry_gateway.entrypoints.routes import RESOURCES
from gantry_imaging.decode import can_decode
from gantry_imaging.encode import can_encode
from gantry_ingest.access import SERVICE_ACTIONS
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_keyword

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "docs" / "conformance.template.md"
DOCUMENT = ROOT / "docs" / "conformance.md"

_YES, _NO = "yes", ""
_SERIES_OF_STATEMENTS = "CSQWRU"
# SOP classes whose names speak of storage and that are none to store by (PS3.4 J, K; PS3.10).
_NOT_STORAGE = ("Storage Commitment", "Media Storage Directory")


def document() -> str:
    """Return the whole document."""
    return TEMPLATE.read_text().format(
        implementation_class_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version_name=IMPLEMENTATION_VERSION_NAME,
        dimse_services=_table(("service", "right it needs"), _dimse_services()),
        sop_classes=_table(("SOP class", "UID", "retired"), _sop_classes()),
        refusals=_table(("refused because", "C-STORE", "STOW-RS"), _refusals()),
        resources=_table(("", "resource", "media types", "query parameters"), _resources()),
        match_keys=_table(("level", "attributes"), _match_keys()),
        statements=_table(("id", "statement", "clause", ""), _statements()),
        transfer_syntaxes=_table(("transfer syntax", "UID", "read", "written"), _transfer_syntaxes()),
    )


def _dimse_services() -> Iterable[Sequence[str]]:
    return ((service, action.value) for service, action in SERVICE_ACTIONS.items())


def _sop_classes() -> Iterable[Sequence[str]]:
    found = [
        (name.removesuffix(" (Retired)"), f"`{uid}`", _YES if retired else _NO)
        for uid, (name, kind, _, retired, _) in UID_dictionary.items()
        if kind == "SOP Class" and "Storage" in name and not name.startswith(_NOT_STORAGE)
    ]
    return sorted(found)


def _refusals() -> Iterable[Sequence[str]]:
    return (
        (refusal.text, f"`{refusal.dimse_status:04X}`", f"`{refusal.failure_reason:04X}`")
        for refusal in Refusal
    )


def _resources() -> Iterable[Sequence[str]]:
    for resource in RESOURCES:
        operation = resource.operation
        yield (
            resource.method,
            f"`{resource.path}`",
            "<br>".join(f"`{name}`" for name in (*operation.takes, *operation.media_types)),
            ", ".join(f"`{name}`" for name in operation.parameters),
        )


def _match_keys() -> Iterable[Sequence[str]]:
    for level in Level:
        names = [".".join(dictionary_keyword(tag) for tag in key.path) for key in MATCH_KEYS[level].values()]
        yield level.value, ", ".join(names)


def _statements() -> Iterable[Sequence[str]]:
    ordered = sorted(CHECKS, key=lambda check: (_SERIES_OF_STATEMENTS.index(check.id[0]), check.id))
    return (
        (check.id, check.text.replace("|", "\\|"), check.clause, "choice" if check.choice else "")
        for check in ordered
    )


def _transfer_syntaxes() -> Iterable[Sequence[str]]:
    for uid, syntax in TRANSFER_SYNTAXES.items():
        is_written = any(can_encode(uid, bits) for bits in (8, 16, 32))
        is_plain = not syntax.encapsulated
        written = is_written or (is_plain and syntax.explicit and syntax.little_endian)
        yield syntax.name, f"`{uid}`", _YES if can_decode(uid) else _NO, _YES if written else _NO


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Write the document, or say that it is out of date."""
    made = document()
    if "--check" not in sys.argv:
        DOCUMENT.write_text(made)
    elif not DOCUMENT.is_file() or DOCUMENT.read_text() != made:
        raise SystemExit("docs/conformance.md is out of date; run tools/conformance_document.py")


if __name__ == "__main__":
    main()
