"""What a search must find: the attributes of everything that was stored, and the exact answer.

The table is filled from the instances themselves, read by pydicom, and asked with the same
``Query`` value that QIDO-RS and C-FIND compile to; matching is the pure reference of
``gantry_dicom.matching``. It knows nothing of a database, of pages or of order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pydicom
from gantry_dicom.matching import matches
from gantry_dicom.query import Level, Query, TagPath
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_SOP_CLASSES_IN_STUDY = (0x00080062,)
_MODALITIES_IN_STUDY = (0x00080061,)
_SERIES_IN_STUDY = (0x00201206,)
_INSTANCES_IN_STUDY = (0x00201208,)
_INSTANCES_IN_SERIES = (0x00201209,)
_STUDY_UID, _SERIES_UID, _SOP_UID = (0x0020000D,), (0x0020000E,), (0x00080018,)
_MODALITY, _SOP_CLASS = (0x00080060,), (0x00080016,)

# Attributes of the levels as searches see them (PS3.3 A.1.2, PS3.4 C.6): the first instance decides.
_STUDY_LEVEL = frozenset(
    {
        (0x00080020,), (0x00080030,), (0x00080050,), (0x00080090,), (0x00081030,),
        (0x00100010,), (0x00100020,), (0x00100021,), (0x00100030,), (0x00100040,),
        (0x0020000D,), (0x00200010,),
    }
)  # fmt: skip
_SERIES_LEVEL = frozenset(
    {
        (0x00080060,), (0x0008103E,), (0x00180015,), (0x0020000E,), (0x00200011,),
        (0x00400244,), (0x00400245,), (0x00400275, 0x00400009), (0x00400275, 0x00401001),
    }
)  # fmt: skip

Values = dict[TagPath, tuple[str, ...]]


@dataclass(slots=True)
class _Series:
    values: Values
    instances: dict[str, Values] = field(default_factory=dict)


@dataclass(slots=True)
class _Study:
    values: Values
    series: dict[str, _Series] = field(default_factory=dict)


class TruthTable:
    """Everything that one partition was sent and has acknowledged, in the order of reception."""

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self._studies: dict[str, _Study] = {}
        for file in files:
            self.add(file)

    def add(self, file: bytes) -> None:
        """Take in one instance (a file of PS3.10); an instance already there changes nothing."""
        values = read_values(file)
        study_uid, series_uid, sop_uid = (values[path][0] for path in (_STUDY_UID, _SERIES_UID, _SOP_UID))
        study = self._studies.setdefault(study_uid, _Study(_of_level(values, _STUDY_LEVEL)))
        series = study.series.setdefault(series_uid, _Series(_of_level(values, _SERIES_LEVEL)))
        if not any(sop_uid in other.instances for other in study.series.values()):
            series.instances[sop_uid] = values

    def expected(self, query: Query) -> frozenset[str]:
        """Return the UIDs (Patient IDs at the patient level) that match, whatever limit and offset say."""
        return frozenset(uid for uid, values in self._rows(query) if matches(query.conditions, values))

    def study_uids(self) -> frozenset[str]:
        """Return every study."""
        return frozenset(self._studies)

    def _rows(self, query: Query) -> Iterator[tuple[str, Mapping[TagPath, tuple[str, ...]]]]:
        for study_uid, study in self._studies.items():
            if query.study_uid is not None and query.study_uid != study_uid:
                continue
            above = study.values | self._study_aggregates(study)
            if query.level is Level.PATIENT:
                yield "".join(study.values.get((0x00100020,), ())), above
                continue
            if query.level is Level.STUDY:
                yield study_uid, above
                continue
            for series_uid, series in study.series.items():
                if query.series_uid is not None and query.series_uid != series_uid:
                    continue
                both = above | series.values | {_INSTANCES_IN_SERIES: (str(len(series.instances)),)}
                if query.level is Level.SERIES:
                    yield series_uid, both
                    continue
                for sop_uid, values in series.instances.items():
                    yield sop_uid, values | both

    @staticmethod
    def _study_aggregates(study: _Study) -> Values:
        instances = [values for series in study.series.values() for values in series.instances.values()]
        modalities = {m for series in study.series.values() for m in series.values.get(_MODALITY, ()) if m}
        classes = {uid for values in instances for uid in values.get(_SOP_CLASS, ())}
        return {
            _MODALITIES_IN_STUDY: tuple(sorted(modalities)),
            _SOP_CLASSES_IN_STUDY: tuple(sorted(classes)),
            _SERIES_IN_STUDY: (str(len(study.series)),),
            _INSTANCES_IN_STUDY: (str(len(instances)),),
        }


def _of_level(values: Values, paths: frozenset[TagPath]) -> Values:
    return {path: found for path, found in values.items() if path in paths}


def read_values(file: bytes) -> Values:
    """Return the values of an instance by path, as text, those of sequences' items too."""
    ds = pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)
    found: Values = {}
    _collect(ds, (), found)
    return found


def _collect(ds: Dataset, above: TagPath, found: Values) -> None:
    for element in ds:
        path = (*above, int(element.tag))
        if element.VR == "SQ":
            for item in element.value:
                _collect(item, path, found)
        elif not isinstance(element.value, bytes):
            value = element.value
            parts = value if isinstance(value, MultiValue | list) else [value]
            texts = tuple(text for text in (_text(part) for part in parts) if text)
            found[path] = found.get(path, ()) + texts


def _text(value: object) -> str:
    if value is None:
        return ""
    # Numbers and dates as they were written; the original of a name is undecoded bytes.
    original = getattr(value, "original_string", value)
    return str(original if isinstance(original, str) else value).strip()
