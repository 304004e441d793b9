"""
Days, weeks and months of the calendar: when the present one began and when it ends, in some time zone.

Clocks of the day may be set: a budget of the calendar is counted by them all the same, because that is what
the bill is counted by. Set back over midnight, the day that has begun goes on.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Literal, TypeAlias

Period: TypeAlias = Literal["day", "week", "month"]
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")


def zone(name: str) -> tzinfo:
    """
    A time zone by its name: `UTC`, an offset such as `+02:00`, or one of the tz database.

    Raises:
        ValueError: there is none of that name.
    """
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo  # two milliseconds that a budget in UTC need not cost

    match = _OFFSET.fullmatch(name)
    try:
        if match is not None:
            ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
            return timezone(ahead if match[1] == "+" else -ahead)
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            "no such time zone; write UTC, an offset such as +02:00, or a name such as Europe/Berlin "
            "(where the system has no time zones: pip install tzdata)"
        ) from None


class Calendar:
    """
    The periods of one kind in one zone.

    Args:
        per: day, week (from Monday) or month.
        where: the zone.
    """

    __slots__ = ("_end", "_start", "_where", "per")

    def __init__(self, per: Period, where: tzinfo = UTC) -> None:
        self.per = per
        self._where = where
        self._start = self._end = 0.0

    def bounds(self, now: float) -> tuple[float, float]:
        """When the period that holds `now` began and when it ends, all in seconds since the epoch."""
        if not self._start <= now < self._end:
            first = self._first(datetime.fromtimestamp(now, self._where).date())
            self._start, self._end = self._midnight(first), self._midnight(self._next(first))
        return self._start, self._end

    def _first(self, day: date) -> date:
        if self.per == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.per == "month" else day

    def _next(self, first: date) -> date:
        if self.per == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first + timedelta(days=7 if self.per == "week" else 1)

    def _midnight(self, day: date) -> float:
        # By the clocks of that day, so that a day may have 23 or 25 hours.
        return datetime.combine(day, time(), self._where).timestamp()
