"""Metrics of what comes into the index, in the words of a radiology department."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gantry_telemetry.metrics import BoundedLabel, counter

from gantry_index.chunk_rows import KnownLevels, PlaceKey
from gantry_index.decisions import Placement

STUDIES = counter(
    "gantry_indexed_studies",
    "Studies new to the index, by the modality they began with",
    ["partition", "modality"],
)
INSTANCES = counter("gantry_indexed_instances", "Instances new to the index", ["partition", "modality"])

# Defined terms of Modality (PS3.3 C.7.3.1.1.1). What else a sender writes there is "other": it
# could be anything, a name included.
_MODALITIES = frozenset(
    {
        *("ANN", "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DMS", "DG"),
        *("DOC", "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL"),
        *("IVOCT", "IVUS", "KER", "KO", "LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM"),
        *("OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG"),
        *("RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD"),
        *("RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "TG"),
        *("US", "VA", "XA", "XAPROTOCOL", "XC"),
    }
)

_partition = BoundedLabel(100)


def count_new(placements: Iterable[Placement], known: Mapping[PlaceKey, KnownLevels]) -> None:
    """Count what a committed chunk added; ``known`` is what there was of its places before."""
    studies: set[tuple[str, str]] = set()
    for placement in placements:
        if not placement.is_new:
            continue
        partition, study_uid, _ = placement.source.identity
        labels = _partition(partition), _modality(placement.source.levels.series.modality)
        INSTANCES.labels(*labels).inc()
        before = known[partition, study_uid, placement.source.series_uid]
        if before.study_pk is None and (partition, study_uid) not in studies:
            studies.add((partition, study_uid))
            STUDIES.labels(*labels).inc()


def _modality(modality: str | None) -> str:
    return modality if modality in _MODALITIES else "other"
