"""Who, which study and which series a synthetic instance belongs to, and the instance itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from gantry_testing.synthetic.identity import FrameIdentity
from gantry_testing.synthetic.plans import PixelPlan

EXPLICIT_LE = "1.2.840.10008.1.2.1"


def make_uid(*names: object) -> str:
    """Return the UID that stands for ``names``: under 2.25 (PS3.5 B.2), always 42 characters.

    A fixed, even length lets a UID be exchanged in finished bytes.
    """
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return f"2.25.{10**36 + int.from_bytes(digest[:16], 'big') % (9 * 10**36)}"


@dataclass(frozen=True, slots=True)
class Patient:
    """Patient module (PS3.3 C.7.1.1); dates as DA."""

    patient_id: str = "GT-000001"
    patient_name: str = "Phantom^Synthia"
    patient_birth_date: str = "19600229"
    patient_sex: str = "F"
    issuer_of_patient_id: str = ""
    specific_character_set: str = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Study:
    """General Study module (PS3.3 C.7.2.1)."""

    study_uid: str
    study_date: str = "20240307"
    study_time: str = "101112"
    accession_number: str = "A000001"
    study_id: str = "1"
    study_description: str = "Synthetic study"
    referring_physician_name: str = "Referrer^Rita^^Dr"
    patient: Patient = field(default_factory=Patient)


@dataclass(frozen=True, slots=True)
class Series:
    """General Series module (PS3.3 C.7.3.1)."""

    series_uid: str
    series_number: int = 1
    series_description: str = "Synthetic series"
    body_part_examined: str = "CHEST"
    study: Study = field(default_factory=lambda: Study(make_uid("study")))


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance as a Part 10 file, and what a test must know to check it.

    ``data_set_offset`` is where the data set begins in ``data``. ``plan`` is ``None`` without
    pixel data; ``identified`` tells whether the frames carry their identity.
    """

    data: bytes
    data_set_offset: int
    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_number: int
    series: Series
    frames: int
    plan: PixelPlan | None
    lossy: bool
    identified: bool = True

    @property
    def study_uid(self) -> str:
        """Study Instance UID (0020,000D)."""
        return self.series.study.study_uid

    @property
    def series_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self.series.series_uid

    @property
    def patient(self) -> Patient:
        """The patient of the study."""
        return self.series.study.patient

    @property
    def data_set(self) -> bytes:
        """The bytes after the File Meta group, as they travel in a C-STORE."""
        return self.data[self.data_set_offset :]

    def identity(self, frame: int = 1) -> FrameIdentity:
        """Return what ``read_identity`` must say of frame ``frame``."""
        return FrameIdentity.of(self.study_uid, self.series_uid, self.sop_uid, frame)
