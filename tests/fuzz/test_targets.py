"""The fuzzer's targets over its seeds, and over every input that was once a finding.

``make fuzz`` searches for more. A finding is repaired at its root, with a test beside the code.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def module(name):
    """Return a neighbour of this file, which pytest does not put on the path."""
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", Path(__file__).with_name(f"{name}.py"))
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


targets, seeds = module("targets"), module("seeds")


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_target_holds_for_its_seeds_whole_cut_short_and_damaged(name):
    target = targets.TARGETS[name]
    for seed in seeds.SEEDS[name]:
        for length in range(0, len(seed) + 1, max(1, len(seed) // 50)):
            target(seed[:length])
        for position in range(0, len(seed), max(1, len(seed) // 50)):
            target(seed[:position] + b"\xff" + seed[position + 1 :])


def test_what_is_admitted_of_the_seeds_gets_past_the_gate():
    target_admits = [targets.admit(seed, limits=targets.GATE) for seed in seeds.SEEDS["gate"]]
    assert len({admission.transfer_syntax_uid for admission in target_admits}) == 3
