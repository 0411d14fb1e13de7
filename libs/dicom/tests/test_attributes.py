"""The level tables."""

from __future__ import annotations

import pytest
from gantry_dicom.attributes import (
    INSTANCE,
    LEVELS,
    PATIENT_MODULES,
    SERIES,
    SERIES_MODULES,
    STUDY,
    STUDY_MODULES,
    level_of,
)
from gantry_dicom.query import Level


@pytest.mark.parametrize("level", LEVELS.values(), ids=lambda level: hex(min(level.required)))
def test_an_attribute_has_one_place_in_a_level(level):
    places = [level.required, level.if_known, level.optional, level.computed]
    for index, place in enumerate(places):
        for other in places[index + 1 :]:
            assert not place & other


def test_modules_do_not_share_attributes():
    assert not PATIENT_MODULES & STUDY_MODULES
    assert not (PATIENT_MODULES | STUDY_MODULES) & SERIES_MODULES


def test_the_study_answer_has_what_table_10_6_3_3_asks_for():
    answered = STUDY.required | STUDY.if_known | STUDY.computed
    assert answered >= {
        0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00080201, 0x00081190,
        0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x0020000D, 0x00200010, 0x00201206, 0x00201208,
    }  # fmt: skip


def test_the_series_answer_has_what_table_10_6_3_4_asks_for():
    answered = SERIES.required | SERIES.if_known | SERIES.computed
    assert answered >= {
        0x00080060, 0x00080201, 0x0008103E, 0x00081190, 0x0020000E, 0x00200011, 0x00201209, 0x00400244,
        0x00400245, 0x00400275,
    }  # fmt: skip


def test_the_instance_answer_has_what_table_10_6_3_5_asks_for():
    answered = INSTANCE.required | INSTANCE.if_known | INSTANCE.computed
    assert answered >= {
        0x00080016, 0x00080018, 0x00080056, 0x00080201, 0x00081190, 0x00083002, 0x00200013, 0x00280008,
        0x00280010, 0x00280011, 0x00280100,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "level"),
    [
        (0x00100020, Level.PATIENT),
        (0x00081030, Level.STUDY),
        (0x0008103E, Level.SERIES),
        (0x00080018, Level.INSTANCE),
        (0x00091001, Level.INSTANCE),
    ],
)
def test_every_attribute_belongs_to_a_level(tag, level):
    assert level_of(tag) is level
