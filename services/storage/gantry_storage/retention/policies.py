"""The retention file: how long what is kept, and which policy decides of a study. Pure.

::

    {"grace_days": 30, "backups_kept_days": 35, "duplicates_after_days": 30,
     "policies": [{"name": "ct-ten-years", "delete_after_days": 3653, "counted_from": "study-date",
                   "keep_until_age": 28, "when": {"modalities": ["CT"]}}],
     "moves": [{"name": "cold-after-a-year", "to": "cold", "after_days": 365}]}

Where several policies fit, the one that keeps longest decides; where none fits, nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from gantry_dicom.errors import BadRequest
from gantry_objectstore.keys import is_partition
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
# The policy of deletions of objects that are there twice.
DUPLICATES = "duplicates"
_LONGEST_DAYS = 400 * 366


class Basis(Enum):
    """What the days of a policy are counted from."""

    RECEIVED = "received"
    # A study without a date counts from its reception.
    STUDY_DATE = "study-date"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Strict):
    """Conditions that must all hold; one that is not given holds always. Texts are patterns with * and ?."""

    partitions: tuple[str, ...] = ()
    # The study has one of these.
    modalities: tuple[str, ...] = ()
    # AE titles or names of those who sent it; one of them matches one of these.
    sources: tuple[str, ...] = ()

    @field_validator("partitions")
    @classmethod
    def _check_partitions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_partition, value)):
            raise ValueError("there is no such name of a partition")
        return value


class Policy(_Strict):
    """How long studies of some kind are kept."""

    name: str = Field(pattern=_NAME)
    delete_after_days: int = Field(ge=1, le=_LONGEST_DAYS)
    counted_from: Basis = Basis.RECEIVED
    # And until the patient is so old, when the birth date is known: records of children are kept longer.
    keep_until_age: int | None = Field(default=None, ge=1, le=150)
    when: When = When()


class Move(_Strict):
    """When studies of some kind go to another store: so long after their date and after the last look."""

    name: str = Field(pattern=_NAME)
    to: str = Field(min_length=1)
    after_days: int = Field(ge=1, le=_LONGEST_DAYS)
    counted_from: Basis = Basis.STUDY_DATE
    when: When = When()


class Retention(_Strict):
    """Everything in the file."""

    policies: tuple[Policy, ...] = ()
    # The first that fits decides.
    moves: tuple[Move, ...] = ()
    # How long a study that was moved also stays where it was.
    move_grace_days: float = Field(default=7.0, ge=0, le=_LONGEST_DAYS)
    # How long a deletion can be undone before what it hid is destroyed.
    grace_days: float = Field(default=30.0, ge=0, le=_LONGEST_DAYS)
    # How long backups keep what is gone from here; certificates say so.
    backups_kept_days: float = Field(default=0.0, ge=0, le=_LONGEST_DAYS)
    # When an object that is there twice goes; without, never.
    duplicates_after_days: float | None = Field(default=None, gt=0, le=_LONGEST_DAYS)
    # However old a study is: nothing goes sooner after its reception.
    settle_days: float = Field(default=30.0, ge=0, le=_LONGEST_DAYS)
    # Studies deleted, and studies purged, in one run at most: a mistake in this file is then a small one.
    studies_a_run: int = Field(default=1000, ge=1, le=100_000)

    @model_validator(mode="after")
    def _check_names(self) -> Retention:
        for names in ([policy.name for policy in self.policies], [move.name for move in self.moves]):
            for name in names:
                if names.count(name) > 1 or name == DUPLICATES:
                    raise ValueError(f"two are called {name}")
        return self


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What the policies look at."""

    partition: str
    modalities: Sequence[str]
    sources: Sequence[str]
    study_date: date | None
    received_at: datetime
    birth_date: date | None
    looked_at: date | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which policy decides, and when the study may go."""

    policy: str
    due: datetime


def parse_retention(text: str) -> Retention:
    """Return the content of a retention file; raises ``BadRequest`` that says where it is wrong."""
    try:
        return Retention.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"the retention file is wrong at {where or 'the top'}: {first['msg']}") from error


def read_retention(path: Path | None) -> Retention | None:
    """Return the content of the file; ``None`` without one. Raises ``BadRequest``."""
    if path is None:
        return None
    try:
        return parse_retention(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest("the retention file cannot be read") from error


def decide(retention: Retention, study: StudyFacts) -> Verdict | None:
    """Return the verdict of the policy that keeps the study longest; ``None`` when none fits."""
    verdicts = [
        Verdict(policy.name, _due(policy, study, timedelta(days=retention.settle_days)))
        for policy in retention.policies
        if _fits(policy.when, study)
    ]
    return max(verdicts, key=lambda verdict: verdict.due, default=None)


def destination(retention: Retention, study: StudyFacts, now: datetime) -> Move | None:
    """Return the move that a study is due for; ``None`` when it stays where it is."""
    move = next((each for each in retention.moves if _fits(each.when, study)), None)
    if move is None:
        return None
    wait = timedelta(days=move.after_days)
    dues = [
        _later(_begin(move.counted_from, study), wait),
        _later(study.received_at, timedelta(days=retention.settle_days)),
    ]
    if study.looked_at is not None:
        dues.append(_later(_midnight(study.looked_at), wait))
    return move if max(dues) <= now else None


def _fits(when: When, study: StudyFacts) -> bool:
    return (
        (not when.partitions or study.partition in when.partitions)
        and _one_matches(study.modalities, when.modalities)
        and _one_matches(study.sources, when.sources)
    )


def _due(policy: Policy, study: StudyFacts, settle: timedelta) -> datetime:
    begun = _begin(policy.counted_from, study)
    dues = [_later(begun, timedelta(days=policy.delete_after_days)), _later(study.received_at, settle)]
    if policy.keep_until_age is not None and study.birth_date is not None:
        dues.append(_birthday(study.birth_date, policy.keep_until_age))
    return max(dues)


def _begin(basis: Basis, study: StudyFacts) -> datetime:
    if basis is Basis.STUDY_DATE and study.study_date is not None:
        return _midnight(study.study_date)
    return study.received_at


def _birthday(birth_date: date, age: int) -> datetime:
    year = birth_date.year + age
    if year > date.max.year:
        return datetime.max.replace(tzinfo=UTC)
    leap_day = (birth_date.month, birth_date.day) == (2, 29)
    return _midnight(date(year, 3, 1) if leap_day else birth_date.replace(year=year))


def _later(moment: datetime, time: timedelta) -> datetime:
    try:
        return moment + time
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _one_matches(values: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a value matches a pattern, without regard to case; no pattern is no condition."""
    return not patterns or any(
        fnmatchcase(value.casefold(), pattern.casefold()) for value in values for pattern in patterns
    )
