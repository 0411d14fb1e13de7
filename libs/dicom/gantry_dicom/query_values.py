"""The instants that DA, TM and DT texts of a search stand for (PS3.5 6.2, PS3.4 C.2.2.2.5).

A text of reduced precision stands for an interval: ``10`` is the hour from 10:00:00 to
10:59:59.999999, ``202401`` the whole month. Each function returns the interval's first and
last instant, both inclusive, to the microsecond. Single values and ranges are compared by
these bounds, so ``1030`` finds 10:30 and 10:30:15, and ``-1030`` includes both.

Offsets from UTC are dropped: what is stored is the local time of the modality.
"""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, time

from gantry_dicom.errors import BadRequest

# The second forms are those of ACR-NEMA that PS3.5 6.2 asks readers to understand.
_DA = re.compile(r"(\d{4})(\d\d)(\d\d)|(\d{4})\.(\d\d)\.(\d\d)", re.ASCII)
_TM = re.compile(
    r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?"
    r"|(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?",
    re.ASCII,
)
_DT = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?",
    re.ASCII,
)


def date_of(text: str) -> date:
    """Return the date of a DA text. Raises ``BadRequest``."""
    found = _DA.fullmatch(text)
    if found is None:
        raise BadRequest("not a date of the form YYYYMMDD")
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return date(year, month, day)
    except ValueError:
        raise BadRequest("not a date of the calendar") from None


def time_bounds(text: str) -> tuple[time, time]:
    """Return the first and last instant of a TM text. Raises ``BadRequest``."""
    found = _TM.fullmatch(text)
    if found is None:
        raise BadRequest("not a time of the form HHMMSS.FFFFFF")
    groups = found.groups()
    hour, minute, second, fraction = groups[:4] if groups[0] is not None else groups[4:]
    return _clock(hour, minute, second, fraction)


def date_time_bounds(text: str) -> tuple[datetime, datetime]:
    """Return the first and last instant of a DT text. Raises ``BadRequest``."""
    found = _DT.fullmatch(text)
    if found is None:
        raise BadRequest("not a date and time of the form YYYYMMDDHHMMSS.FFFFFF")
    year, month, day, hour, minute, second, fraction, _offset = found.groups()
    try:
        first_day = date(int(year), int(month or 1), int(day or 1))
        last_month = int(month or 12)
        last_day = date(
            int(year), last_month, int(day) if day else calendar.monthrange(int(year), last_month)[1]
        )
    except (ValueError, calendar.IllegalMonthError):
        raise BadRequest("not a date of the calendar") from None
    first, last = _clock(hour, minute, second, fraction)
    return datetime.combine(first_day, first), datetime.combine(last_day, last)


def _clock(
    hour: str | None, minute: str | None, second: str | None, fraction: str | None
) -> tuple[time, time]:
    if second == "60":  # a leap second; Python's clock has none
        second, fraction = "59", "999999"
    try:
        first = time(int(hour or 0), int(minute or 0), int(second or 0), int((fraction or "0").ljust(6, "0")))
        last = time(
            int(hour or 23), int(minute or 59), int(second or 59), int((fraction or "").ljust(6, "9"))
        )
    except ValueError:
        raise BadRequest("not a time of the day") from None
    return first, last


def split_range(text: str) -> tuple[str | None, str | None] | None:
    """Cut a DA or TM range at its hyphen; ``None`` when the text is a single value.

    An empty bound is ``None``. Raises ``BadRequest`` for a lone hyphen or more than one.
    """
    if "-" not in text:
        return None
    parts = [part.strip() or None for part in text.split("-")]
    if len(parts) != 2 or parts == [None, None]:
        raise BadRequest("not a range of the form first-last, first- or -last")
    return parts[0], parts[1]


_DT_RANGE = re.compile(
    r"(?P<first>\d[\d.]*(?:[+-]\d{4})?)-(?P<last>\d[\d.]*(?:[+-]\d{4})?)"
    r"|(?P<from>\d[\d.]*(?:[+-]\d{4})?)-"
    r"|-(?P<to>\d[\d.]*(?:[+-]\d{4})?)",
    re.ASCII,
)


def split_date_time_range(text: str) -> tuple[str | None, str | None] | None:
    """Cut a DT range; a hyphen may also begin an offset, which has just four digits.

    ``None`` when the text is a single value. ``2024-0500`` is read as a value with an offset
    (PS3.4 C.2.2.2.5.4: offsets win over ranges). Raises ``BadRequest`` for a lone hyphen.
    """
    if "-" not in text or _DT.fullmatch(text) is not None:
        return None
    found = _DT_RANGE.fullmatch(text)
    if found is None:
        raise BadRequest("not a range of the form first-last, first- or -last")
    return found["first"] or found["from"], found["last"] or found["to"]
