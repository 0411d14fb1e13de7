"""A statement of PS3.18 behaviour, and the check that shows whether a server keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from gantry_dicom.errors import CannotProcess

from gantry_cli.conformance.server import Server


class Broken(CannotProcess):
    """The server does otherwise than the statement says."""


class NotTestable(CannotProcess):
    """The statement cannot be checked on this server from outside; the detail says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """One statement: its id (series letter and number), what it says, where the standard says so."""

    id: str
    text: str
    clause: str
    # The standard leaves it open and Gantry decided: another server may do otherwise and be right.
    choice: bool
    run: Callable[[Server], None]


def statement(name: str, clause: str, *, choice: bool = False) -> Callable[[Callable[[Server], None]], Check]:
    """Make a function that checks a server into a ``Check``; its docstring is the statement's text."""

    def wrap(run: Callable[[Server], None]) -> Check:
        text = " ".join((run.__doc__ or "").split())
        if not text:
            raise ValueError(f"{name} does not say what it checks")
        return Check(name, text, clause, choice, run)

    return wrap


def checks_of(*modules: ModuleType) -> Iterator[Check]:
    """Yield the checks that modules define, in the order of their definition."""
    for module in modules:
        yield from (value for value in vars(module).values() if isinstance(value, Check))


def expect(holds: bool, otherwise: str) -> None:
    """Go on when a condition holds; raises ``Broken`` saying what was seen instead."""
    if not holds:
        raise Broken(otherwise)
