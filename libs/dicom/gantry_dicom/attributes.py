"""Which attributes belong to which level, and which a search answers with: tables as data.

Sources: PS3.18 Tables 10.6.3-3 to 10.6.3-5 (what a search returns) and 10.6.1-5 (what it must
match); PS3.3 C.7.1.1 Patient, C.7.1.3 Clinical Trial Subject, C.7.2.1 General Study, C.7.2.2
Patient Study, C.7.2.3 Clinical Trial Study, C.7.3.1 General Series, C.7.3.2 Clinical Trial
Series, C.7.5.1 General Equipment (retired attributes of older editions included). What no
table names belongs to the instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gantry_dicom.facts import INSTANCE_SLOTS, SERIES_SLOTS, STUDY_SLOTS
from gantry_dicom.query import Level, Tag, TagPath

SPECIFIC_CHARACTER_SET = 0x00080005
AVAILABLE_TRANSFER_SYNTAX_UID = 0x00083002


@dataclass(frozen=True, slots=True)
class LevelAttributes:
    """The attributes of one level.

    ``required`` are answered always, empty when the objects do not have them; ``if_known`` only
    when they do; ``optional`` when asked for. ``computed`` come from the index and not from the
    objects. ``matching`` are the match keys of PS3.18 Table 10.6.1-5, as paths.
    """

    required: frozenset[Tag]
    if_known: frozenset[Tag]
    optional: frozenset[Tag]
    computed: frozenset[Tag]
    matching: tuple[TagPath, ...]

    @property
    def default(self) -> frozenset[Tag]:
        """What a document holds of the objects themselves."""
        return self.required | self.if_known


# PS3.3 C.7.1.1 and C.7.1.3.
PATIENT_MODULES = frozenset(
    (
        0x00081120,  # Referenced Patient Sequence
        0x00100010,  # Patient's Name
        0x00100011,  # Person Names to Use Sequence
        0x00100020,  # Patient ID
        0x00100021,  # Issuer of Patient ID
        0x00100022,  # Type of Patient ID
        0x00100024,  # Issuer of Patient ID Qualifiers Sequence
        0x00100026,  # Source Patient Group Identification Sequence
        0x00100027,  # Group of Patients Identification Sequence
        0x00100028,  # Subject Relative Position in Image
        0x00100030,  # Patient's Birth Date
        0x00100032,  # Patient's Birth Time
        0x00100033,  # Patient's Birth Date in Alternative Calendar
        0x00100034,  # Patient's Death Date in Alternative Calendar
        0x00100035,  # Patient's Alternative Calendar
        0x00100040,  # Patient's Sex
        0x00100200,  # Quality Control Subject
        0x00100212,  # Strain Description
        0x00100213,  # Strain Nomenclature
        0x00100214,  # Strain Stock Number
        0x00100215,  # Strain Source Registry Code Sequence
        0x00100216,  # Strain Stock Sequence
        0x00100217,  # Strain Source
        0x00100218,  # Strain Additional Information
        0x00100219,  # Strain Code Sequence
        0x00100221,  # Genetic Modifications Sequence
        0x00101000,  # Other Patient IDs (retired)
        0x00101001,  # Other Patient Names
        0x00101002,  # Other Patient IDs Sequence
        0x00102160,  # Ethnic Group
        0x00102201,  # Patient Species Description
        0x00102202,  # Patient Species Code Sequence
        0x00102292,  # Patient Breed Description
        0x00102293,  # Patient Breed Code Sequence
        0x00102294,  # Breed Registration Sequence
        0x00102297,  # Responsible Person
        0x00102298,  # Responsible Person Role
        0x00102299,  # Responsible Organization
        0x00104000,  # Patient Comments
        0x00120010,  # Clinical Trial Sponsor Name
        0x00120020,  # Clinical Trial Protocol ID
        0x00120021,  # Clinical Trial Protocol Name
        0x00120030,  # Clinical Trial Site ID
        0x00120031,  # Clinical Trial Site Name
        0x00120040,  # Clinical Trial Subject ID
        0x00120042,  # Clinical Trial Subject Reading ID
        0x00120062,  # Patient Identity Removed
        0x00120063,  # De-identification Method
        0x00120064,  # De-identification Method Code Sequence
        0x00120081,  # Clinical Trial Protocol Ethics Committee Name
        0x00120082,  # Clinical Trial Protocol Ethics Committee Approval Number
    )
)

# PS3.3 C.7.2.1, C.7.2.2 and C.7.2.3.
STUDY_MODULES = frozenset(
    (
        0x00080020,  # Study Date
        0x00080030,  # Study Time
        0x00080050,  # Accession Number
        0x00080051,  # Issuer of Accession Number Sequence
        0x00080090,  # Referring Physician's Name
        0x00080096,  # Referring Physician Identification Sequence
        0x0008009C,  # Consulting Physician's Name
        0x0008009D,  # Consulting Physician Identification Sequence
        0x00081030,  # Study Description
        0x00081032,  # Procedure Code Sequence
        0x00081048,  # Physician(s) of Record
        0x00081049,  # Physician(s) of Record Identification Sequence
        0x00081060,  # Name of Physician(s) Reading Study
        0x00081062,  # Physician(s) Reading Study Identification Sequence
        0x00081080,  # Admitting Diagnoses Description
        0x00081084,  # Admitting Diagnoses Code Sequence
        0x00081110,  # Referenced Study Sequence
        0x00100041,  # Gender Identity Sequence
        0x00100043,  # Sex Parameters for Clinical Use Category Sequence
        0x00101010,  # Patient's Age
        0x00101020,  # Patient's Size
        0x00101021,  # Patient's Size Code Sequence
        0x00101022,  # Patient's Body Mass Index
        0x00101023,  # Measured AP Dimension
        0x00101024,  # Measured Lateral Dimension
        0x00101030,  # Patient's Weight
        0x00102000,  # Medical Alerts
        0x00102110,  # Allergies
        0x00102180,  # Occupation
        0x001021A0,  # Smoking Status
        0x001021B0,  # Additional Patient History
        0x001021C0,  # Pregnancy Status
        0x001021D0,  # Last Menstrual Date
        0x00102203,  # Patient's Sex Neutered
        0x00120050,  # Clinical Trial Time Point ID
        0x00120051,  # Clinical Trial Time Point Description
        0x00120052,  # Longitudinal Temporal Offset from Event
        0x00120053,  # Longitudinal Temporal Event Type
        0x00120083,  # Consent for Clinical Trial Use Sequence
        0x0020000D,  # Study Instance UID
        0x00200010,  # Study ID
        0x00321033,  # Requesting Service
        0x00321034,  # Requesting Service Code Sequence
        0x00321066,  # Reason for Visit
        0x00321067,  # Reason for Visit Code Sequence
        0x00380010,  # Admission ID
        0x00380014,  # Issuer of Admission ID Sequence
        0x00380060,  # Service Episode ID
        0x00380062,  # Service Episode Description
        0x00380064,  # Issuer of Service Episode ID Sequence
        0x00380500,  # Patient State
        0x00401012,  # Reason For Performed Procedure Code Sequence
    )
)

# PS3.3 C.7.3.1, C.7.3.2 and C.7.5.1. Pixel Padding Value and the Smallest and Largest Pixel
# Value in Series are left out: they describe pixels and may differ from image to image.
SERIES_MODULES = frozenset(
    (
        0x00080021,  # Series Date
        0x00080031,  # Series Time
        0x00080060,  # Modality
        0x00080070,  # Manufacturer
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00081010,  # Station Name
        0x0008103E,  # Series Description
        0x0008103F,  # Series Description Code Sequence
        0x00081040,  # Institutional Department Name
        0x00081041,  # Institutional Department Type Code Sequence
        0x00081050,  # Performing Physician's Name
        0x00081052,  # Performing Physician Identification Sequence
        0x00081070,  # Operators' Name
        0x00081072,  # Operator Identification Sequence
        0x00081090,  # Manufacturer's Model Name
        0x00081111,  # Referenced Performed Procedure Step Sequence
        0x00081250,  # Related Series Sequence
        0x00102210,  # Anatomical Orientation Type
        0x00120060,  # Clinical Trial Coordinating Center Name
        0x00120071,  # Clinical Trial Series ID
        0x00120072,  # Clinical Trial Series Description
        0x00180015,  # Body Part Examined
        0x00181000,  # Device Serial Number
        0x00181002,  # Device UID
        0x00181008,  # Gantry ID
        0x0018100A,  # UDI Sequence
        0x0018100B,  # Manufacturer's Device Class UID
        0x00181020,  # Software Versions
        0x00181030,  # Protocol Name
        0x00181050,  # Spatial Resolution
        0x00181200,  # Date of Last Calibration
        0x00181201,  # Time of Last Calibration
        0x00181204,  # Date of Manufacture
        0x00181205,  # Date of Installation
        0x00185100,  # Patient Position
        0x0020000E,  # Series Instance UID
        0x00200011,  # Series Number
        0x00200060,  # Laterality
        0x00400244,  # Performed Procedure Step Start Date
        0x00400245,  # Performed Procedure Step Start Time
        0x00400250,  # Performed Procedure Step End Date
        0x00400251,  # Performed Procedure Step End Time
        0x00400253,  # Performed Procedure Step ID
        0x00400254,  # Performed Procedure Step Description
        0x00400260,  # Performed Protocol Code Sequence
        0x00400275,  # Request Attributes Sequence
        0x00400280,  # Comments on the Performed Procedure Step
    )
)


def _computed(slots: tuple[tuple[str, ...], ...]) -> frozenset[Tag]:
    return frozenset(int(tag, 16) for slot in slots for tag in slot)


# PS3.18 Table 10.6.3-3 (study and patient) and Table 10.6.1-5.
_STUDY_REQUIRED = frozenset(
    (
        0x00080020,  # Study Date
        0x00080030,  # Study Time
        0x00080050,  # Accession Number
        0x00080090,  # Referring Physician's Name
        0x00100010,  # Patient's Name
        0x00100020,  # Patient ID
        0x00100030,  # Patient's Birth Date
        0x00100040,  # Patient's Sex
        0x0020000D,  # Study Instance UID
        0x00200010,  # Study ID
    )
)
_STUDY_IF_KNOWN = frozenset((0x00080201,))  # Timezone Offset From UTC
STUDY = LevelAttributes(
    required=_STUDY_REQUIRED,
    if_known=_STUDY_IF_KNOWN,
    optional=(STUDY_MODULES | PATIENT_MODULES) - _STUDY_REQUIRED - _STUDY_IF_KNOWN,
    computed=_computed(STUDY_SLOTS),
    matching=(
        (0x00080020,),
        (0x00080030,),
        (0x00080050,),
        (0x00080061,),  # Modalities in Study
        (0x00080090,),
        (0x00100010,),
        (0x00100020,),
        (0x0020000D,),
        (0x00200010,),
    ),
)

# PS3.18 Table 10.6.3-4 and Table 10.6.1-5.
_SERIES_REQUIRED = frozenset(
    (
        0x00080060,  # Modality
        0x0020000E,  # Series Instance UID
        0x00200011,  # Series Number
    )
)
_SERIES_IF_KNOWN = frozenset(
    (
        0x00080201,  # Timezone Offset From UTC
        0x0008103E,  # Series Description
        0x00400244,  # Performed Procedure Step Start Date
        0x00400245,  # Performed Procedure Step Start Time
        0x00400275,  # Request Attributes Sequence
    )
)
SERIES = LevelAttributes(
    required=_SERIES_REQUIRED,
    if_known=_SERIES_IF_KNOWN,
    optional=SERIES_MODULES - _SERIES_REQUIRED - _SERIES_IF_KNOWN,
    computed=_computed(SERIES_SLOTS),
    matching=(
        (0x00080060,),
        (0x0020000E,),
        (0x00200011,),
        (0x00400244,),
        (0x00400245,),
        (0x00400275, 0x00400009),  # Scheduled Procedure Step ID
        (0x00400275, 0x00401001),  # Requested Procedure ID
    ),
)

# PS3.18 Table 10.6.3-5 and Table 10.6.1-5; Available Transfer Syntax UID is what 10.6.3.3.3 allows.
_INSTANCE_REQUIRED = frozenset(
    (
        0x00080016,  # SOP Class UID
        0x00080018,  # SOP Instance UID
        0x00200013,  # Instance Number
    )
)
_INSTANCE_IF_KNOWN = frozenset(
    (
        0x00080201,  # Timezone Offset From UTC
        AVAILABLE_TRANSFER_SYNTAX_UID,
        0x00280008,  # Number of Frames
        0x00280010,  # Rows
        0x00280011,  # Columns
        0x00280100,  # Bits Allocated
    )
)
INSTANCE = LevelAttributes(
    required=_INSTANCE_REQUIRED,
    if_known=_INSTANCE_IF_KNOWN,
    optional=frozenset(),
    computed=_computed(INSTANCE_SLOTS),
    matching=((0x00080016,), (0x00080018,), (0x00200013,)),
)

LEVELS: Mapping[Level, LevelAttributes] = {
    Level.STUDY: STUDY,
    Level.SERIES: SERIES,
    Level.INSTANCE: INSTANCE,
}


def level_of(tag: Tag) -> Level:
    """Return the level that an attribute of a composite object belongs to."""
    if tag in PATIENT_MODULES:
        return Level.PATIENT
    if tag in STUDY_MODULES:
        return Level.STUDY
    return Level.SERIES if tag in SERIES_MODULES else Level.INSTANCE
