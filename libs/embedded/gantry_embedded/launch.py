"""Run a program that dies with its parent, if need be under another account.

Executed by path with a bare interpreter (``python -I -S launch.py ...``), so it imports only the standard
library. A launcher rather than ``preexec_fn``: that one runs between fork and exec, where a parent with
threads (pytest, asyncio) may deadlock.

Arguments: parent pid, death signal, uid, gid, then the program and its arguments. uid -1 keeps the account.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _drop_to(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Become ``uid``, keeping only the right to pass folders that belong to root (``/root``, 0700).

    A clone, a virtual environment or a temporary folder of root cannot be entered by another account,
    and PostgreSQL refuses to run as root.
    """
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    mask = 1 << CAP_DAC_OVERRIDE
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    if libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), sets) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main() -> None:
    """Take the account, ask the kernel for the death signal, then become the program."""
    parent, death_signal, uid, gid = (int(argument) for argument in sys.argv[1:5])
    program = sys.argv[5:]
    libc = ctypes.CDLL(None, use_errno=True)
    if uid >= 0:
        _drop_to(libc, uid, gid)
    # After the change of account, which would clear it.
    libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")
    os.execvpe(program[0], program, os.environ)  # noqa: S606


if __name__ == "__main__":
    main()
