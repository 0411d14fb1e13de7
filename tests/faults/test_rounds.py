"""A few rounds of the harness (``make faults`` runs hundreds): each strikes something else under load."""

from __future__ import annotations

import random

import pytest
from gantry_testing.auditor import Answer
from gantry_testing.faults.plan import CATALOGUE, POISON, Blow, Plan, dice_of, draw
from gantry_testing.faults.rounds import Course, run_round
from gantry_testing.faults.scene import Scene

KINDS = {kind.name: kind for kind in CATALOGUE}


def blow(name, target, at):
    return Blow(KINDS[name], target, at)


# What finds most, in as few rounds as may be: everything dies at least once.
PLANS = {
    "front services": Plan(
        (blow("kill at a point", "ingest", 0.5), blow("kill at a point", "gateway", 0.5)), with_poison=False
    ),
    "back services": Plan(
        (blow("kill", "storage", 1.0), blow("kill", "indexer", 1.5), blow("kill", "indexer-worker", 2.0)),
        with_poison=True,
    ),
    "servers": Plan(
        (blow("server crash", "postgres", 0.5), blow("server crash", "valkey", 1.0)), with_poison=False
    ),
    "an older copy": Plan((blow("older copy", "postgres", 0.5),), with_poison=False),
    "the store": Plan(
        (
            blow("bad connections", "ingest", 0.3),
            blow("lost records", "gateway", 0.3),
            blow("second sweeper", "storage-2", 0.5),
        ),
        with_poison=False,
    ),
}


@pytest.fixture(scope="module")
def course(shared_proxied_stack):
    return Course(shared_proxied_stack)


@pytest.mark.parametrize("number", range(len(PLANS)), ids=list(PLANS))
def test_nothing_acknowledged_is_lost_whatever_strikes(proxied, course, lease_seconds, number):
    plan = list(PLANS.values())[number]
    scene = Scene(proxied, random.Random(number), lease_seconds)
    result = run_round(course, scene, plan, number, f"ci {number}")
    assert result.ok, f"{result.told}: {result.findings}"
    assert result.answers[Answer.ACKNOWLEDGED.value] > 0
    assert not result.suspicious, f"{result.told}: {result.suspicious}"


def test_a_seed_draws_the_same_rounds_again():
    drawn = [draw(dice_of(7, number)) for number in range(50)]
    assert drawn == [draw(dice_of(7, number)) for number in range(50)]
    assert drawn != [draw(dice_of(8, number)) for number in range(50)]


def test_rounds_strike_each_target_once_and_everything_in_time():
    seen = set()
    for number in range(500):
        plan = draw(dice_of(1, number))
        shares = [f"{each.kind.share}{each.target}" for each in plan.blows]
        assert len(shares) == len(set(shares))
        seen.update(plan.names)
    assert seen >= {f"{kind.name} ({target})" for kind in CATALOGUE for target in kind.targets} | {POISON}


def test_full_discs_are_left_out_where_nothing_can_be_mounted():
    plans = [draw(dice_of(1, number), without=("disk",)) for number in range(300)]
    assert not any(each.kind.name == "full disk" for plan in plans for each in plan.blows)
