import io
from collections import Counter

import numpy as np
import pydicom
import pytest
from gantry_testing.synthetic import demo_patient


@pytest.fixture(scope="module")
def instances():
    return list(demo_patient(slices=8))


def test_the_demonstration_has_ct_mr_ultrasound_and_priors_of_one_patient(instances):
    studies = {i.study_uid: i.series.study for i in instances}
    assert len({i.patient for i in instances}) == 1
    assert Counter(i.modality for i in instances) == {"CT": 24, "MR": 8, "US": 3, "DX": 1}
    assert len(studies) == 5
    assert len({study.study_date for study in studies.values()}) == 5


def test_the_demonstration_is_the_same_every_time(instances):
    assert [i.data for i in demo_patient(slices=8)] == [i.data for i in instances]


def test_every_picture_shows_something(instances):
    for instance in instances:
        ds = pydicom.dcmread(io.BytesIO(instance.data))
        if instance.modality in {"CT", "DX"}:
            pixels = np.frombuffer(ds.PixelData, np.uint16)
            assert len(np.unique(pixels)) > 100
        assert len(ds.PixelData) > 10_000


def test_identified_tells_pictures_from_identity_patterns(instances):
    assert not any(i.identified for i in instances)
