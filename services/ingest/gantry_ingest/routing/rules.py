"""The rules of routing, and which of them apply to an arrival: pure.

A file says where things can go and what goes there::

    {"destinations": {"ai": {"kind": "dimse", "ae_title": "AI", "host": "10.0.0.9", "port": 104},
                      "cloud": {"kind": "stow", "url": "https://vna.example/dicom-web"}},
     "rules": [{"name": "chest-ct", "send_to": "ai",
                "when": {"modalities": ["CT"], "study_description": "*chest*"}}]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from gantry_dicom.errors import BadRequest
from gantry_objectstore.keys import is_partition
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class Unit(Enum):
    """What a rule waits for and sends."""

    STUDY = "study"
    SERIES = "series"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DimseDestination(_Strict):
    """An application entity that takes C-STORE."""

    kind: Literal["dimse"]
    ae_title: str = Field(min_length=1, max_length=16)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    calling_ae_title: str = Field(default="GANTRY", min_length=1, max_length=16)


class StowDestination(_Strict):
    """A STOW-RS service, and the file that holds a token for it, read before each request."""

    kind: Literal["stow"]
    url: str = Field(pattern=r"^https?://")
    token_file: Path | None = None


Destination = Annotated[DimseDestination | StowDestination, Field(discriminator="kind")]


class When(_Strict):
    """Conditions that must all hold; one that is not given holds always. Texts are patterns with * and ?."""

    # AE titles or names of those who sent it; one of them matches one of these.
    sources: tuple[str, ...] = ()
    # The series has, or a series of the study has, one of these.
    modalities: tuple[str, ...] = ()
    study_description: str = ""
    series_description: str = ""
    # Between two times of the day (UTC); the second may be of the next day.
    received_between: tuple[time, time] | None = None


class Rule(_Strict):
    """One rule."""

    name: str = Field(pattern=_NAME)
    partition: str = "main"
    unit: Unit = Unit.STUDY
    when: When = When()
    send_to: str

    @field_validator("partition")
    @classmethod
    def _check_partition(cls, value: str) -> str:
        if not is_partition(value):
            raise ValueError("is no name of a partition")
        return value


class Routes(_Strict):
    """Everything in the file."""

    destinations: Mapping[str, Destination] = {}
    rules: tuple[Rule, ...] = ()
    # Nothing has come for so long: it is complete. The second where the associations were released.
    quiet_seconds: float = Field(default=60.0, gt=0)
    released_quiet_seconds: float = Field(default=15.0, gt=0)
    # For how long a destination that cannot be reached is tried again.
    give_up_hours: float = Field(default=72.0, gt=0)

    @model_validator(mode="after")
    def _check_names(self) -> Routes:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are called {name}")
        for rule in self.rules:
            if rule.send_to not in self.destinations:
                raise ValueError(f"the rule {rule.name} sends to {rule.send_to}, which is no destination")
        return self


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the rules look at: a study, or one series of it."""

    partition: str
    unit: Unit
    sources: Sequence[str]
    modalities: Sequence[str]
    study_description: str
    series_descriptions: Sequence[str]
    received_at: datetime


def parse_routes(text: str) -> Routes:
    """Return the routes of a file; raises ``BadRequest`` that says where it is wrong."""
    try:
        return Routes.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"the routes are wrong at {where or 'the top'}: {first['msg']}") from error


def matching(routes: Routes, arrival: Arrival) -> list[Rule]:
    """Return the rules that apply to ``arrival``, in the order of the file."""
    return [rule for rule in routes.rules if _applies(rule, arrival)]


def _applies(rule: Rule, arrival: Arrival) -> bool:
    when = rule.when
    return (
        (rule.partition, rule.unit) == (arrival.partition, arrival.unit)
        and _one_matches(arrival.sources, when.sources)
        and _one_matches(arrival.modalities, when.modalities)
        and _one_matches([arrival.study_description], _given(when.study_description))
        and _one_matches(arrival.series_descriptions, _given(when.series_description))
        and _is_between(arrival.received_at.time(), when.received_between)
    )


def _given(pattern: str) -> tuple[str, ...]:
    return (pattern,) if pattern else ()


def _one_matches(values: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a value matches a pattern, without regard to case; no pattern is no condition."""
    return not patterns or any(
        fnmatchcase(value.casefold(), pattern.casefold()) for value in values for pattern in patterns
    )


def _is_between(moment: time, bounds: tuple[time, time] | None) -> bool:
    if bounds is None:
        return True
    first, last = bounds
    return first <= moment <= last if first <= last else moment >= first or moment <= last
