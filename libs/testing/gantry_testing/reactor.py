"""Pynetdicom's association thread, made to pause when a caller waits for it to.

pynetdicom 3.0.4 says that the thread is paused a moment before it looks whether it has to: on a
busy machine it then goes on, and takes the answer that the caller of ``send_c_*`` waits for.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association


def pause_exactly() -> None:
    """From now on "paused" means that the thread waits, in every association of this process."""
    Association._is_paused = property(_is_paused, _say_paused)  # type: ignore[assignment] # noqa: SLF001


def _is_paused(association: Association) -> bool:
    is_own_thread = threading.current_thread() is association
    if association._kill or is_own_thread or association.is_acceptor:  # noqa: SLF001
        # It has ended, or a handler in the thread itself asks.
        return bool(association.__dict__.get("_says_paused", False))
    waiting = association._reactor_checkpoint._cond._waiters  # type: ignore[attr-defined] # noqa: SLF001
    return bool(waiting)


def _say_paused(association: Association, value: bool) -> None:
    association.__dict__["_says_paused"] = value
