from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gantry_testing.auditor import Answer, SentInstance, content_of, data_set_start
from gantry_testing.auditor.rules import judge
from gantry_testing.auditor.values import (
    Content,
    Evidence,
    Finding,
    IndexedInstance,
    ManifestLine,
    Served,
    StoredObject,
    Verdict,
)
from gantry_testing.synthetic import generate_study

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AGE = timedelta(hours=1)
KEY, OTHER_KEY = "o/main/aa/01B/0001", "o/main/aa/01B/0002"

SENT = SentInstance("main", "1.2", "1.2.3", "1.2.3.4", "d1", Answer.ACKNOWLEDGED, "f1")
LINE = ManifestLine(
    "m/main/2026-01-01/01B", "main", KEY, "01B00000001", "1.2", "1.2.3.4", "d1", "m1", 10, 99, False
)
VERDICT = Verdict(KEY, "main", "1.2", "1.2.3.4", "d1", "indexed", None)
ROW = IndexedInstance("main", "1.2", "1.2.3", "1.2.3.4", KEY, "d1")
GOOD = Evidence(
    now=NOW,
    lines=(LINE,),
    objects={KEY: StoredObject(KEY, 99, NOW - timedelta(days=1))},
    contents={KEY: Content("d1", "f1", 99)},
    verdicts={KEY: VERDICT},
    instances=(ROW,),
    served={("main", "1.2", "1.2.3.4"): Served(200, Content("d1", "f1", 99))},
)
SECOND = replace(LINE, object_key=OTHER_KEY, order_key="01B00000002")


def rules(sent, evidence):
    return {finding.rule for finding in judge(sent, evidence, AGE)}


def with_second(state, survivor=KEY, digest="d1"):
    """Return the good evidence with a second reception of the same instance."""
    return replace(
        GOOD,
        lines=(LINE, replace(SECOND, data_set_sha256=digest)),
        objects=GOOD.objects | {OTHER_KEY: StoredObject(OTHER_KEY, 99, NOW)},
        contents=GOOD.contents | {OTHER_KEY: Content(digest, "f2", 99)},
        verdicts=GOOD.verdicts | {OTHER_KEY: replace(VERDICT, object_key=OTHER_KEY, state=state,
                                                     survivor_key=survivor, data_set_sha256=digest)},
    )  # fmt: skip


def test_nothing_is_found_where_all_is_well():
    assert rules([SENT], GOOD) == set()
    assert rules([SENT, SENT], with_second("duplicate")) == set()
    loser = replace(SENT, data_set_sha256="d2", file_sha256="f2")
    assert rules([SENT, loser], with_second("conflict-loser", digest="d2")) == set()


BROKEN = {
    "acknowledged-in-manifest": replace(GOOD, lines=()),
    "acknowledged-decided": replace(GOOD, verdicts={}),
    "acknowledged-searchable": replace(GOOD, instances=()),
    "object-present": replace(GOOD, objects={}),
    "object-destroyed": replace(GOOD, destroyed=frozenset({KEY})),
    "object-bytes": replace(GOOD, contents={KEY: Content("dX", "f1", 99)}),
    "verdict-agrees": replace(GOOD, verdicts={KEY: replace(VERDICT, state="pending")}),
    "served": replace(GOOD, served={("main", "1.2", "1.2.3.4"): Served(404, None)}),
    "object-in-manifest": replace(
        GOOD, objects=GOOD.objects | {OTHER_KEY: StoredObject(OTHER_KEY, 1, NOW - timedelta(hours=2))}
    ),
    "record-unreadable": replace(GOOD, unreadable_records=("m/main/2026-01-01/01B",)),
    "survivor-stands": with_second("duplicate", survivor=None),
    "recount:study-series-count": replace(GOOD, miscounts=(Finding("recount:study-series-count", "", ""),)),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_invariant_is_found(rule):
    assert rule in rules([SENT], BROKEN[rule])


def test_what_was_destroyed_is_missed_by_nobody():
    gone = replace(
        GOOD,
        objects={},
        contents={},
        instances=(),
        served={},
        destroyed=frozenset({KEY}),
        verdicts={KEY: replace(VERDICT, state="tombstoned")},
    )
    assert rules([SENT], gone) == set()
    assert "object-present" in rules([SENT], replace(gone, destroyed=frozenset()))


def test_each_acknowledgement_needs_a_line_of_its_own():
    assert "acknowledged-in-manifest" in rules([SENT, SENT], GOOD)


def test_a_refused_line_is_not_a_line():
    assert "acknowledged-in-manifest" in rules([SENT], replace(GOOD, lines=(replace(LINE, refused=True),)))


def test_a_young_object_may_still_be_in_no_manifest():
    young = StoredObject(OTHER_KEY, 1, NOW - timedelta(minutes=1))
    assert rules([SENT], replace(GOOD, objects=GOOD.objects | {OTHER_KEY: young})) == set()


def test_what_was_refused_must_not_be_indexed():
    assert "refused-in-no-index" in rules([replace(SENT, answer=Answer.REFUSED)], GOOD)
    assert "refused-in-no-index" not in rules([replace(SENT, answer=Answer.REFUSED), SENT], GOOD)


def test_what_was_never_answered_may_be_there_or_not():
    unanswered = replace(SENT, answer=Answer.UNANSWERED)
    assert rules([unanswered], GOOD) == set()
    assert rules([unanswered], Evidence(now=NOW)) == set()


def test_a_duplicate_of_other_bytes_is_found():
    assert "survivor-stands" in rules([SENT], with_second("duplicate", digest="d2"))


def test_the_first_received_is_served_not_the_second():
    evidence = replace(
        with_second("conflict-loser", digest="d2"),
        served={("main", "1.2", "1.2.3.4"): Served(200, Content("d2", "f2", 99))},
    )
    assert "served" in rules([SENT], evidence)


def test_a_changed_preamble_is_found_where_the_whole_file_must_come_back():
    other = {("main", "1.2", "1.2.3.4"): Served(200, Content("d1", "fX", 99))}
    assert "served" in rules([SENT], replace(GOOD, served=other))
    assert rules([replace(SENT, file_sha256=None)], replace(GOOD, served=other)) == set()


def test_the_data_set_is_found_behind_any_meta_group():
    (instance,) = generate_study(1, "MR", size=(16, 16))
    assert data_set_start(instance.data) == instance.data_set_offset
    assert data_set_start(instance.data[132:]) == instance.data_set_offset - 132
    assert data_set_start(instance.data_set) == 0
    assert content_of(instance.data).data_set_sha256 == content_of(instance.data_set).data_set_sha256


def test_an_unanswered_line_may_lead_to_nothing():
    gone = replace(LINE, object_key=OTHER_KEY, order_key="01B00000002", unanswered=True)
    assert judge([SENT], replace(GOOD, lines=(LINE, gone)), AGE) == ()


def test_an_unanswered_line_that_leads_to_nothing_is_no_acknowledgements():
    gone = replace(LINE, unanswered=True)
    rules = {each.rule for each in judge([SENT], replace(GOOD, lines=(gone,), objects={}), AGE)}
    assert "acknowledged-in-manifest" in rules


def test_an_unanswered_line_whose_object_came_late_needs_no_verdict():
    late = replace(LINE, object_key=OTHER_KEY, order_key="01A00000001", unanswered=True)
    objects = GOOD.objects | {OTHER_KEY: replace(GOOD.objects[KEY], key=OTHER_KEY)}
    assert judge([SENT], replace(GOOD, lines=(late, LINE), objects=objects), AGE) == ()


def test_what_only_a_sweeper_was_left_to_record_may_appear_though_it_was_refused():
    refused = replace(SENT, answer=Answer.REFUSED)
    assert "refused-in-no-index" in {each.rule for each in judge([refused], GOOD, AGE)}
    swept = replace(LINE, unanswered=True, swept=True)
    assert judge([refused], replace(GOOD, lines=(swept,)), AGE) == ()
