"""The statements S01 to S06, S17 to S34 and S43: what became of each instance (PS3.18 10.5.3, Annex I)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree as ET

from gantry_testing import raw
from gantry_testing.synthetic.values import Instance, make_uid
from gantry_testing.web import DICOM, StowAnswer, encode_multipart, items, value

from gantry_cli.conformance.server import Server, path_of, study_path_of
from gantry_cli.conformance.statements import NotTestable, expect, statement
from gantry_cli.conformance.stow_samples import DICOM_XML, fresh, post, warnings_of

_STORED_AS_SENT = "application/dicom; transfer-syntax=*"
_MEANS_MISMATCH = range(0xA900, 0xAA00)
_CANNOT_UNDERSTAND = range(0xC000, 0xD000)


def _expect_stored(answer: StowAnswer, instances: list[Instance], status: int) -> None:
    wanted = {instance.sop_uid for instance in instances}
    expect(answer.status == status, f"answered {answer.status}, not {status}: {answer.document}")
    expect(set(answer.stored) == wanted, f"stored {set(answer.stored)}, not {wanted}")


def _truncated(instance: Instance) -> bytes:
    return instance.data[: len(instance.data) - 100]


@statement("S01", "PS3.18 10.5.1")
def one_request_may_hold_several_studies(server: Server) -> None:
    """A POST to /studies stores instances of several studies."""
    both = fresh(server, "several studies, one") + fresh(server, "several studies, two")
    _expect_stored(server.store([instance.data for instance in both]), both, 200)


@statement("S02", "PS3.18 10.5.1.1")
def a_named_study_takes_its_own_and_fails_each_other(server: Server) -> None:
    """A POST to a study stores the instances of it, and fails each other one by itself."""
    own, strange = fresh(server, "own study"), fresh(server, "strange study")
    answer = server.store([strange[0].data, own[0].data], own[0].study_uid)
    _expect_stored(answer, own, 202)
    expect(set(answer.failed) == {strange[0].sop_uid}, f"failed are {answer.failed}")


@statement("S03", "PS3.18 Table 10.5.3-1")
def all_stored_is_200(server: Server) -> None:
    """When everything is stored and nothing is to be warned of, the answer is 200."""
    instances = fresh(server, "all stored", 2)
    _expect_stored(server.store([instance.data for instance in instances]), instances, 200)


@statement("S04", "PS3.18 Table 10.5.3-1")
def some_stored_is_202(server: Server) -> None:
    """When some are stored and some fail, the answer is 202."""
    good, bad = fresh(server, "some stored", 2)
    _expect_stored(server.store([_truncated(bad), good.data]), [good], 202)


@statement("S05", "PS3.18 Table 10.5.3-1", choice=True)
def stored_with_a_warning_is_202(server: Server) -> None:
    """When all are stored and one has a warning, the answer is 202."""
    answer = server.store([_unlike_its_file_meta(server, "warned")])
    if not warnings_of(answer):
        raise NotTestable("this server warns of nothing that is known here")
    expect(answer.status == 202, f"answered {answer.status} with a warning")


@statement("S06", "PS3.18 Table 10.5.3-1")
def none_stored_is_409_with_reasons(server: Server) -> None:
    """A well-formed request of which nothing can be stored is answered 409 with the reasons."""
    bad = fresh(server, "none stored", 2)
    answer = server.store([_truncated(instance) for instance in bad])
    expect(answer.status == 409, f"answered {answer.status}")
    expect(len(answer.failed) + len(answer.other_failures) == 2, f"reasons: {answer.document}")


@statement("S17", "PS3.18 I.1", choice=True)
def a_part_that_is_no_dicom_fails_alone(server: Server) -> None:
    """A part that is no DICOM fails alone, in the Other Failures Sequence with a reason Cxxx."""
    [good] = fresh(server, "no dicom beside")
    answer = server.store([b"this is no DICOM at all", good.data])
    _expect_stored(answer, [good], 202)
    expect(
        len(answer.other_failures) == 1 and answer.other_failures[0] in _CANNOT_UNDERSTAND,
        f"other failures: {answer.document}",
    )


@statement("S18", "PS3.18 10.5.3, 8.7.3")
def the_answer_is_json_or_xml_as_asked(server: Server) -> None:
    """The answer is DICOM JSON by default, XML when asked for, and 406 when neither will do."""
    [instance] = fresh(server, "answer types")
    content_type, body = encode_multipart([instance.data])
    for accept in ("*/*", "application/dicom+json"):
        found = post(server, content_type, body, accept=accept).headers["content-type"]
        expect(found.partition(";")[0] == "application/dicom+json", f"{accept} was answered {found}")
    answer = post(server, content_type, body, accept=DICOM_XML)
    expect(answer.headers["content-type"].partition(";")[0] == DICOM_XML, "no XML where XML was asked for")
    tags = {node.get("tag") for node in ET.fromstring(answer.content)}  # noqa: S314 - the examiner's choice
    expect({"00081190", "00081199"} <= tags, f"the XML holds {tags}")
    refused = post(server, content_type, body, accept="image/png")
    expect(refused.status_code == 406, f"image/png was answered {refused.status_code}")


@statement("S19", "PS3.18 I.1")
def failures_are_listed_only_when_there_are_some(server: Server) -> None:
    """The Failed SOP Sequence is there only when something failed."""
    [instance] = fresh(server, "no failures")
    document = server.store([instance.data]).document
    expect("00081198" not in document and "0008119A" not in document, f"answered {document}")


@statement("S20", "PS3.18 I.1")
def stored_ones_are_listed_only_when_there_are_some(server: Server) -> None:
    """The Referenced SOP Sequence is there only when something was stored."""
    [bad] = fresh(server, "nothing stored")
    document = server.store([_truncated(bad)]).document
    expect("00081199" not in document, f"answered {document}")


@statement("S21", "PS3.18 Table I.1-1")
def a_failed_item_names_itself_and_its_reason(server: Server) -> None:
    """Each failed item has SOP Class UID, SOP Instance UID and a Failure Reason as a number."""
    [bad] = fresh(server, "failed item")
    [item] = items(server.store([_truncated(bad)]).document, "00081198") or [{}]
    expect(value(item, "00081150") == bad.sop_class_uid, f"the class is {item}")
    expect(value(item, "00081155") == bad.sop_uid, f"the instance is {item}")
    reason = item["00081197"]
    expect(reason["vr"] == "US" and type(reason["Value"][0]) is int, f"the reason is {reason}")


@statement("S22", "PS3.18 Table I.1-1", choice=True)
def the_retrieve_url_is_the_one_studys(server: Server) -> None:
    """The top-level Retrieve URL is there always, with the study's URL when just one was stored to."""
    one, other = fresh(server, "one study"), fresh(server, "other study")
    single = server.store([one[0].data]).document
    expect(
        str(value(single, "00081190")).endswith(study_path_of(one[0])), f"one study: {single.get('00081190')}"
    )
    double = server.store([one[0].data, other[0].data]).document
    expect(double.get("00081190") == {"vr": "UR"}, f"two studies: {double.get('00081190')}")


@statement("S23", "PS3.18 Table I.1-1")
def a_stored_items_url_can_be_fetched_at_once(server: Server) -> None:
    """Each stored item has a Retrieve URL of VR UR, and a GET on it answers 200 at once."""
    [instance] = fresh(server, "fetch at once")
    [item] = items(server.store([instance.data]).document, "00081199")
    expect(item["00081190"]["vr"] == "UR", f"the item is {item}")
    answer = server.send_absolute(str(value(item, "00081190")))
    expect(answer.status_code == 200, f"the URL answered {answer.status_code}")


def _one_of(
    server: Server, name: str, *, sop_class: str = raw.SOP_CLASS, transfer_syntax: str = raw.EXPLICIT
) -> bytes:
    uid = make_uid(server.seed, name)
    uids = {0x00080016: sop_class, 0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    return raw.part10(raw.instance(uids=uids), transfer_syntax, sop_class=sop_class, sop_instance=uid)


def _unlike_its_file_meta(server: Server, name: str) -> bytes:
    """Return a file whose File Meta Information names another SOP class than its data set."""
    uid = make_uid(server.seed, name)
    data_set = raw.instance(uids={0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid})
    return raw.part10(data_set, sop_class="1.2.840.10008.5.1.4.1.1.2", sop_instance=uid)


def _expect_stored_or(answer: StowAnswer, reason: int) -> None:
    reasons = [*answer.failed.values(), *answer.other_failures]
    expect(bool(answer.stored) or reasons == [reason], f"reasons are {[hex(code) for code in reasons]}")


@statement("S24", "PS3.18 Table I.2-2")
def an_unsupported_class_is_0122(server: Server) -> None:
    """An instance of a SOP class that nobody knows is stored, or fails with 0122."""
    _expect_stored_or(server.store([_one_of(server, "class", sop_class=make_uid("a class"))]), 0x0122)


@statement("S25", "PS3.18 Table I.2-2")
def an_unsupported_transfer_syntax_is_c122(server: Server) -> None:
    """An instance in a transfer syntax that nobody knows is stored, or fails with C122."""
    sent = _one_of(server, "syntax", transfer_syntax=make_uid("a transfer syntax"))
    _expect_stored_or(server.store([sent]), 0xC122)


@statement("S26", "PS3.18 I.2.1, I.2.2")
def what_does_not_match_its_class_is_a9xx_or_b007(server: Server) -> None:
    """A data set that does not match the SOP class its file names fails with A9xx, or is warned of: B007."""
    answer = server.store([_unlike_its_file_meta(server, "mismatch")])
    reasons = [*answer.failed.values(), *answer.other_failures]
    expect(
        warnings_of(answer) == [0xB007] or (bool(reasons) and reasons[0] in _MEANS_MISMATCH),
        f"answered {answer.document}",
    )


@statement("S27", "PS3.18 Table I.2-2")
def what_cannot_be_read_is_cxxx(server: Server) -> None:
    """An instance that cannot be read fails with a reason Cxxx."""
    [bad] = fresh(server, "unreadable")
    answer = server.store([_truncated(bad)])
    reasons = [*answer.failed.values(), *answer.other_failures]
    expect(len(reasons) == 1 and reasons[0] in _CANNOT_UNDERSTAND, f"reasons are {reasons}")


@statement("S28", "PS3.18 I.2.2", choice=True)
def a_study_mismatch_is_c409(server: Server) -> None:
    """An instance of another study than the one addressed fails with C409."""
    [instance], [other] = fresh(server, "of another study"), fresh(server, "study addressed")
    answer = server.store([instance.data], other.study_uid)
    expect(answer.failed == {instance.sop_uid: 0xC409}, f"answered {answer.document}")


def _expect_changes_confessed(server: Server, reason: int) -> None:
    """What comes back is what was sent, or the answer warned and the object tells what was changed."""
    odd = raw.element(0x00104000, "LT", b"odd \xff text") + raw.element(0x00110010, "LO", b"GANTRY")
    uid = make_uid(server.seed, "changes")
    uids = {0x00080018: uid, 0x0020000D: uid, 0x0020000E: uid}
    sent = raw.part10(raw.instance((0x00104000, odd), uids=uids), sop_instance=uid)
    answer = server.store([sent])
    expect(bool(answer.stored), f"answered {answer.document}")
    path = f"/studies/{uid}/series/{uid}/instances/{uid}"
    same = server.get(path, _STORED_AS_SENT).content == sent
    [found] = server.get(path + "/metadata", "application/dicom+json").json()
    confessed = reason in warnings_of(answer) and "04000561" in found
    expect(same or confessed, "the object was changed without a word")


@statement("S29", "PS3.18 10.5.3")
def changed_values_are_told(server: Server) -> None:
    """Values changed on storing are told by Warning Reason B000 and Original Attributes in the object."""
    _expect_changes_confessed(server, 0xB000)


@statement("S30", "PS3.18 I.2.1")
def dropped_elements_are_told(server: Server) -> None:
    """Elements dropped on storing are told by Warning Reason B006."""
    _expect_changes_confessed(server, 0xB006)


@statement("S31", "PS3.18 Table I.1-1")
def original_attributes_say_when_and_who(server: Server) -> None:
    """Original Attributes in the answer, if given, have a time and the system that modified."""
    [instance] = fresh(server, "original attributes")
    for stored in items(server.store([instance.data]).document, "00081199"):
        for original in items(stored, "04000561"):
            expect({"04000562", "04000563"} <= set(original), f"an item is {original}")


@statement("S32", "PS3.18 10.5", choice=True)
def the_same_bytes_twice_are_one_object(server: Server) -> None:
    """The same bytes stored twice are answered 200 both times, and are one object."""
    [instance] = fresh(server, "sent twice")
    for _ in range(2):
        _expect_stored(server.store([instance.data]), [instance], 200)
    found = server.get(f"{study_path_of(instance)}/instances", "application/dicom+json").json()
    expect(len(found) == 1, f"{len(found)} instances are found")


def _versions(server: Server, name: str) -> tuple[Instance, bytes]:
    [instance] = fresh(server, name)
    before = instance.series.series_description.encode()
    return instance, instance.data.replace(before, before[:-1] + b"X", 1)


@statement("S33", "PS3.18 10.5", choice=True)
def other_bytes_under_the_same_uid_are_never_lost_silently(server: Server) -> None:
    """Other bytes under a UID that is taken fail or are warned of, and one whole version is served."""
    first, second = _versions(server, "conflict")
    server.store([first.data])
    answer = server.store([second])
    expect(bool(answer.failed or warnings_of(answer)), f"nothing is said: {answer.document}")
    found = server.get(path_of(first), _STORED_AS_SENT).content
    expect(found in (first.data, second), "what is served is neither version")


def race(server: Server, name: str, senders: int = 4) -> None:
    """Store one instance, and another version of it, from several senders at once; expect one whole."""
    first, second = _versions(server, name)
    bodies = [first.data if number % 2 else second for number in range(senders)]
    with ThreadPoolExecutor(senders) as pool:
        answers = list(pool.map(lambda body: server.store([body]), bodies))
    expect(all(answer.status in (200, 202, 409) for answer in answers), "not all were answered")
    found = server.get(f"{study_path_of(first)}/instances", "application/dicom+json").json()
    expect(len(found) == 1, f"{len(found)} instances are found")
    served = server.get(path_of(first), _STORED_AS_SENT)
    expect(
        served.content in (first.data, second), f"what is served ({served.status_code}) is neither version"
    )


@statement("S34", "PS3.18 10.5")
def two_at_once_end_as_one_after_the_other(server: Server) -> None:
    """Requests that store the same instance at once end as if one had come after the other."""
    for number in range(10):
        race(server, f"race {number}")


@statement("S43", "PS3.18 10.5.3")
def what_is_stored_is_found(server: Server) -> None:
    """After 200 an instance is found by a search at once, in its study, series and by itself."""
    [instance] = fresh(server, "found by search")
    _expect_stored(server.store([instance.data]), [instance], 200)
    for path, key, wanted in (
        ("/studies", "0020000D", instance.study_uid),
        ("/series", "0020000E", instance.series_uid),
        ("/instances", "00080018", instance.sop_uid),
    ):
        found = server.get(path, "application/dicom+json", params=[(key, wanted)]).json()
        expect([value(item, key) for item in found] == [wanted], f"{path} found {found}")


@statement("S40", "PS3.18 8.7.3.5")
def one_instance_may_be_the_body(server: Server) -> None:
    """A body of Content-Type application/dicom is one instance."""
    [instance] = fresh(server, "single part")
    answer = post(server, DICOM, instance.data)
    expect(answer.status_code == 200, f"answered {answer.status_code}")
