"""Fault injection for tests: instances that raise, or kill the process, while they are derived.

Off unless ``GANTRY_FAULTS=1``; a deployment never sets it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from gantry_indexer.settings import IndexerSettings

FaultHook = Callable[[str], None]


class InjectedFault(Exception):
    """The exception of a test's poison instance."""


def no_fault(sop_instance_uid: str) -> None:
    """Do nothing."""


def fault_hook(settings: IndexerSettings) -> FaultHook:
    """Return what is called with the SOP Instance UID of each instance before it is derived."""
    if not settings.faults:
        return no_fault
    raising = frozenset(filter(None, settings.fault_raise_sop_uids.split(",")))
    killing = frozenset(filter(None, settings.fault_kill_sop_uids.split(",")))

    def hook(sop_instance_uid: str) -> None:
        if sop_instance_uid in killing:
            os.kill(os.getpid(), signal.SIGKILL)
        if sop_instance_uid in raising:
            raise InjectedFault("this instance was named as poison")

    return hook
