"""Thousands of small studies with attributes worth searching for.

Names in many scripts and character sets, accents, characters that mean something to SQL and to
patterns, missing and unparsable values, several modalities in a study, several studies of a
patient. What a search must find in them is said by ``gantry_testing.truth``.
"""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Iterator

from pydicom.charset import convert_encodings, encode_string

from gantry_testing.synthetic import encoding, modules
from gantry_testing.synthetic.identity import FrameIdentity, draw_frame
from gantry_testing.synthetic.names import FAMILIES, GIVEN
from gantry_testing.synthetic.plans import PixelPlan, SampleKind
from gantry_testing.synthetic.recipes import RECIPES
from gantry_testing.synthetic.values import EXPLICIT_LE, Instance, Patient, Series, Study, make_uid

_PLAN = PixelPlan(12, 16, SampleKind.UNSIGNED_8, 8)
_KIND = "SC"
_VARYING = {
    "SpecificCharacterSet": (0x00080005, "CS"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "AccessionNumber": (0x00080050, "SH"),
    "Modality": (0x00080060, "CS"),
    "ReferringPhysicianName": (0x00080090, "PN"),
    "StudyDescription": (0x00081030, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "PatientName": (0x00100010, "PN"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientBirthDate": (0x00100030, "DA"),
    "PatientSex": (0x00100040, "CS"),
    "BodyPartExamined": (0x00180015, "CS"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "StudyID": (0x00200010, "SH"),
    "SeriesNumber": (0x00200011, "IS"),
    "InstanceNumber": (0x00200013, "IS"),
}

# (name, Specific Character Set): what PS3.5 Annexes H-J show, and what strains a folding.
_OTHER_NAMES = (
    ("Müller^Jürgen", "ISO_IR 100"),
    ("Müller^Jürgen", "ISO_IR 192"),
    ("MUELLER^JUERGEN", "ISO_IR 6"),
    ("Buc^Jérôme", "ISO_IR 100"),
    ("Διονυσιος", "ISO_IR 126"),
    ("Люкceмбypг", "ISO_IR 144"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
    ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
    ("Wang^XiaoDong=王^小东", "GB18030"),
    ("Zhang^San=张^三", "ISO_IR 192"),
    ("Çelik^Şule", "ISO_IR 148"),
    ("O'Brien^Seán", "ISO_IR 192"),
    ("Percent%^Under_score", "ISO_IR 192"),
    ("van der Berg^Anne-Marie^Q^Dr^PhD", "ISO_IR 192"),
    ("Single", "ISO_IR 192"),
    ("", "ISO_IR 192"),
)
_DESCRIPTIONS = (
    "CT CHEST WITH CONTRAST", "ct abdomen", "MR HEAD", "Röntgen Thorax", "100% done_well", "US ABDOMEN",
    "it's; DROP TABLE study", "", "Knee, left", "KNEE RIGHT",
)  # fmt: skip
_MODALITIES = (("CT",), ("CT", "SR"), ("MR",), ("MR", "PR", "SR"), ("CR",), ("US",), ("CT", "PT"), ("",))
_REFERRERS = ("Referrer^Rita^^Dr", "Döring^Jörg", "", "SMITH^JOHN", "Smith^Johanna")
_BODY_PARTS = ("CHEST", "HEAD", "KNEE", "ABDOMEN", "")


def population(studies: int, seed: int = 0) -> Iterator[Instance]:
    """Yield the instances of that many studies, two or three thousand instances a second.

    A study has one to three series of one or two instances.
    """
    for number in range(studies):
        dice = random.Random(f"population {seed} {number}")  # noqa: S311 - must repeat, not surprise
        study = _study(seed, number, dice)
        modalities = dice.choice(_MODALITIES)
        for n, modality in enumerate(modalities, 1):
            series = Series(
                series_uid=make_uid("population series", study.study_uid, n),
                series_number=n,
                series_description=f"{modality} series {n}".strip(),
                body_part_examined=dice.choice(_BODY_PARTS),
                study=study,
            )
            for instance in range(1, dice.choice((1, 1, 2)) + 1):
                yield _instance(series, modality, instance)


def _study(seed: int, number: int, dice: random.Random) -> Study:
    # Two studies a patient.
    patient = _patient(seed, number // 2)
    time = f"{dice.randrange(24):02d}{dice.randrange(60):02d}15"
    date = dt.date(2015, 1, 1) + dt.timedelta(days=dice.randrange(3650))
    dates = (f"{date:%Y%m%d}",) * 20 + ("", "20230231")
    return Study(
        study_uid=make_uid("population study", seed, number),
        study_date=dice.choice(dates),
        study_time=dice.choice((time, time, "0730", "101112.5", "")),
        accession_number=dice.choice((f"ACC{number:07d}", f"ACC{number:07d}", f"a_{number}%", "")),
        study_id=f"S{number % 50}",
        study_description=dice.choice(_expressible(_DESCRIPTIONS, patient)),
        referring_physician_name=dice.choice(_expressible(_REFERRERS, patient)),
        patient=patient,
    )


@functools.lru_cache(maxsize=256)
def _patient(seed: int, number: int) -> Patient:
    dice = random.Random(f"population patient {seed} {number}")  # noqa: S311 - must repeat, not surprise
    common = (f"{dice.choice(FAMILIES)}^{dice.choice(GIVEN)}", "ISO_IR 192")
    name, charset = dice.choice((common, common, dice.choice(_OTHER_NAMES)))
    return Patient(
        patient_id=dice.choice((f"P{number:06d}", f"P{number:06d}", f"p%{number:05d}", f"P_{number:05d}")),
        patient_name=name,
        patient_birth_date=dice.choice((f"19{dice.randrange(20, 99)}{dice.randrange(1, 13):02d}11", "")),
        patient_sex=dice.choice(("F", "M", "O", "")),
        issuer_of_patient_id=dice.choice(("", "HOSPITAL-A", "HOSPITAL-B")),
        specific_character_set=charset,
    )


@functools.cache
def _template() -> encoding.Template:
    series = Series(make_uid("template"), study=Study(make_uid("template study")))
    recipe = RECIPES[_KIND]
    item = modules.Item(series, recipe.sop_class_uid, make_uid("template"), 1, "OT", _PLAN, 1)
    ds = modules.common(item)
    recipe.fill(ds, item)
    modules.image_pixel(ds, _PLAN, 1, multiframe=False)
    return encoding.Template(ds, EXPLICIT_LE, _VARYING.values())


def _instance(series: Series, modality: str, number: int) -> Instance:
    study, patient = series.study, series.study.patient
    sop_uid = make_uid("population instance", series.series_uid, number)
    texts = {
        "SpecificCharacterSet": patient.specific_character_set,
        "SOPInstanceUID": sop_uid,
        "StudyDate": study.study_date,
        "StudyTime": study.study_time,
        "AccessionNumber": study.accession_number,
        "Modality": modality,
        "ReferringPhysicianName": study.referring_physician_name,
        "StudyDescription": study.study_description,
        "SeriesDescription": series.series_description,
        "PatientName": patient.patient_name,
        "PatientID": patient.patient_id,
        "PatientBirthDate": patient.patient_birth_date,
        "PatientSex": patient.patient_sex,
        "BodyPartExamined": series.body_part_examined,
        "StudyInstanceUID": study.study_uid,
        "SeriesInstanceUID": series.series_uid,
        "StudyID": study.study_id,
        "SeriesNumber": str(series.series_number),
        "InstanceNumber": str(number),
    }
    if patient.issuer_of_patient_id:
        texts["IssuerOfPatientID"] = patient.issuer_of_patient_id
    charsets = patient.specific_character_set.split("\\")
    values = {_VARYING[name][0]: _encoded(text, charsets) for name, text in texts.items()}
    identity = FrameIdentity.of(study.study_uid, series.series_uid, sop_uid)
    pixels = encoding.pixel_element([draw_frame(identity, _PLAN)], _PLAN, EXPLICIT_LE)
    sop_class_uid = RECIPES[_KIND].sop_class_uid
    meta = encoding.file_meta(sop_class_uid, sop_uid, EXPLICIT_LE)
    return Instance(
        data=meta + _template().render(values) + pixels,
        data_set_offset=len(meta),
        sop_class_uid=sop_class_uid,
        sop_uid=sop_uid,
        transfer_syntax_uid=EXPLICIT_LE,
        modality=modality,
        instance_number=number,
        series=series,
        frames=1,
        plan=_PLAN,
        lossy=False,
    )


def _expressible(texts: tuple[str, ...], patient: Patient) -> tuple[str, ...]:
    """Return those of ``texts`` that the character set of the patient's studies can say."""
    if patient.specific_character_set in {"ISO_IR 100", "ISO_IR 192", "GB18030"}:
        return texts
    return tuple(text for text in texts if text.isascii())


def _encoded(text: str, charsets: list[str]) -> bytes:
    """Return ``text`` in its character set, each component of a name encoded for itself (PS3.5 6.1.2.5.3)."""
    if text.isascii():
        return text.encode()
    encodings = convert_encodings(charsets)
    return b"=".join(
        b"^".join(encode_string(component, encodings) for component in group.split("^"))
        for group in text.split("=")
    )
