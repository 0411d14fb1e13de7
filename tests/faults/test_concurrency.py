"""(d) The same instances at once, (e) twenty first images at once: one truth whatever the order."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import psycopg
from gantry_testing.auditor import Answer
from gantry_testing.builders import with_other_bytes, with_other_meta
from gantry_testing.synthetic import generate_study
from gantry_testing.web import value

SENDERS = 8


def send_all(stack, recorder, jobs):
    """Send every job (a list of instances) at once, STOW-RS and C-STORE in turn."""

    def send(numbered):
        number, instances = numbered
        if number % 2:
            return recorder.c_store(stack.peer, instances)
        with stack.web() as web:
            return recorder.stow(web, instances)

    with ThreadPoolExecutor(SENDERS) as pool:
        return list(itertools.chain(*pool.map(send, enumerate(jobs))))


def rows_of(stack, table, instances):
    """Return how many rows a table of the index has of the instances' studies."""
    where = {
        "instance": "study_pk IN (SELECT id FROM study WHERE study_uid = ANY(%s))",
        "reception": "study_uid = ANY(%s)",
        "study": "study_uid = ANY(%s)",
        "series": "study_pk IN (SELECT id FROM study WHERE study_uid = ANY(%s))",
        "patient": "id IN (SELECT patient_pk FROM study WHERE study_uid = ANY(%s))",
    }[table]
    with psycopg.connect(stack.index_dsn) as connection:
        uids = [instance.study_uid for instance in instances]
        (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", [uids]).fetchone()
    return count


def test_the_same_instances_many_times_at_once_are_there_once(stack, recorder, settle_and_audit, found_of):
    instances = generate_study(90, "CT", instances=4, size=(64, 64))
    jobs = [instances if n % 3 else [with_other_meta(i) for i in instances] for n in range(16)]
    assert set(send_all(stack, recorder, jobs)) == {Answer.ACKNOWLEDGED}
    stack.wait_found([instance.sop_uid for instance in instances])
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
    with stack.web() as web:
        (study,) = web.search("/studies", StudyInstanceUID=instances[0].study_uid)
        assert value(study, "00201208") == len(instances)
        assert found_of(web, instances) == {instance.sop_uid for instance in instances}
    assert rows_of(stack, "instance", instances) == len(instances)
    assert rows_of(stack, "reception", instances) == len(instances) * len(jobs)


def test_one_uid_with_many_contents_at_once_shows_the_first_received(
    stack, recorder, settle_and_audit, found_of
):
    (instance,) = generate_study(91, "MR", size=(64, 64))
    jobs = [[with_other_bytes(instance, n)] for n in range(10)] * 2
    assert set(send_all(stack, recorder, jobs)) == {Answer.ACKNOWLEDGED}
    stack.wait_found([instance.sop_uid])
    report = settle_and_audit(stack, recorder.sent)
    # The auditor checks that WADO-RS gives the reception with the smallest order key.
    assert report.ok, str(report)
    assert rows_of(stack, "instance", [instance]) == 1
    assert rows_of(stack, "reception", [instance]) == len(jobs)
    with stack.web() as web:
        assert found_of(web, [instance]) == {instance.sop_uid}


def test_twenty_first_images_of_a_patient_at_once_make_one_patient_and_one_study(
    stack, recorder, settle_and_audit
):
    images = generate_study(92, "CR", instances=20, size=(64, 64))
    assert set(send_all(stack, recorder, [[image] for image in images])) == {Answer.ACKNOWLEDGED}
    stack.wait_found([image.sop_uid for image in images])
    assert [rows_of(stack, table, images) for table in ("patient", "study", "series")] == [1, 1, 1]
    with stack.web() as web:
        (study,) = web.search("/studies", PatientID=images[0].patient.patient_id)
        assert (value(study, "00201206"), value(study, "00201208")) == (1, 20)
        (series,) = web.search(f"/studies/{images[0].study_uid}/series")
        assert value(series, "00201209") == 20
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)


def test_series_of_two_modalities_at_once_unite_in_the_study(stack, recorder, settle_and_audit):
    ct = generate_study(93, "CT", series=4, instances=3, size=(64, 64))
    pt = generate_study(93, "PT", series=4, instances=3, size=(64, 64))
    assert {i.study_uid for i in ct} == {i.study_uid for i in pt}
    # Series of the same number share a UID: a modality of its own each.
    jobs = [[instance] for pair in zip(ct[:6], pt[6:], strict=True) for instance in pair]
    assert set(send_all(stack, recorder, jobs)) == {Answer.ACKNOWLEDGED}
    stack.wait_found([instance.sop_uid for instance in (*ct[:6], *pt[6:])])
    with stack.web() as web:
        (study,) = web.search("/studies", StudyInstanceUID=ct[0].study_uid)
        assert sorted(study["00080061"]["Value"]) == ["CT", "PT"]
        assert (value(study, "00201206"), value(study, "00201208")) == (4, 12)
    report = settle_and_audit(stack, recorder.sent)
    assert report.ok, str(report)
