"""The settings of a stack that rounds strike: leases of seconds, and instances that kill."""

from __future__ import annotations

from collections.abc import Iterable

from gantry_testing.faults.load import poison

LEASE_SECONDS = 2.0
# Everything that waits for a lease waits for this one; the sweeper looks around twice a second.
QUICK = {
    "GANTRY_LEASE_SECONDS": str(LEASE_SECONDS),
    "GANTRY_SWEEP_MARGIN_SECONDS": "0.5",
    "GANTRY_SWEEP_SECONDS": "0.5",
    "GANTRY_FEED_AFTER_SECONDS": "1",
    "GANTRY_FEED_AGAIN_SECONDS": "3",
    "GANTRY_VERDICT_SECONDS": "1",
    "GANTRY_DEAD_AFTER_SECONDS": "3",
}


def environment_of(rounds: Iterable[int]) -> dict[str, str]:
    """Return the environment of a stack for rounds of these numbers."""
    lethal = ",".join(poison(number).sop_uid for number in rounds)
    return QUICK | {"GANTRY_FAULTS": "1", "GANTRY_FAULT_KILL_SOP_UIDS": lethal}
