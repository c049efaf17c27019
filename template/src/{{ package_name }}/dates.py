"""The day of a row, read from the forms that exports and people write.

Only the date as written counts: a time or a time zone behind it is not converted, so that a
row's day is the one its reader sees. Numbers of seconds are UTC.
"""

import re
from datetime import UTC, date, datetime
from typing import Any

EPOCH = date(1970, 1, 1).toordinal()
MISSING = "date: missing"
NOT_A_DATE = "date: not a date"
NO_SUCH_DAY = "date: no such day"
AMBIGUOUS = "date: day and month cannot be told apart"
# Seconds since 1970 are believed from 1973 to 2100; smaller numbers are counts or years.
SECONDS = range(100_000_000, 4_102_444_800)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WORD = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
_WORD += r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
_DAY, _YEAR = r"(?P<day>\d{1,2})", r"(?P<year>\d{4})"
_TIME = r"(?:(?:[T,\s]|\sat\s)\s*\d{1,2}:\d\d.*)?"
_CLOCK = r"(?:T?\d{4,6}(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+)?"
# Year first; day first (a dotted date is read as in Europe, where it is written); words.
FORMS = (
    rf"{_YEAR}-(?P<month>\d\d?)-{_DAY}{_TIME}",
    rf"{_YEAR}[/.](?P<month>\d\d?)[/.]{_DAY}{_TIME}",
    rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d){_CLOCK}",
    rf"{_DAY}\.\s?(?P<month>\d\d?)\.\s?{_YEAR}{_TIME}",
    rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th|\.)?[\s-]{_WORD}[\s,-]+{_YEAR}{_TIME}",
    rf"{_WEEKDAY}{_WORD}\s{_DAY}(?:st|nd|rd|th)?,?\s+{_YEAR}{_TIME}",
)
PATTERNS = tuple(re.compile(form, re.IGNORECASE | re.ASCII) for form in FORMS)
EITHER = re.compile(rf"(?P<one>\d\d?)[/-](?P<two>\d\d?)[/-]{_YEAR}{_TIME}", re.ASCII)


def parse_day(value: Any) -> int:
    """Return the day of a date in days since 1970-01-01.

    Reads date and datetime objects, whole numbers of seconds since 1970 (1973 to 2100), and
    text such as 2025-06-30, 2025-06-30T12:00:00Z, 20250630, 30.06.2025, 30 June 2025 or
    June 30, 2025. 06/30/2025 is read because no month has the number 30; 03/04/2025 is not.

    Raises:
        ValueError: the reason as a short code, without the value.
    """
    if value is None or value == "":
        raise ValueError(MISSING)
    if isinstance(value, date):  # datetime is one
        return value.toordinal() - EPOCH
    if isinstance(value, int) and not isinstance(value, bool):
        if value not in SECONDS:
            raise ValueError(NOT_A_DATE)
        return datetime.fromtimestamp(value, UTC).toordinal() - EPOCH
    if not isinstance(value, str):
        raise ValueError(NOT_A_DATE)
    year, month, day = _parts(value.strip())
    try:
        return date(year, month, day).toordinal() - EPOCH
    except ValueError:
        # The library's message quotes the numbers.
        raise ValueError(NO_SUCH_DAY) from None


def _parts(text: str) -> tuple[int, int, int]:
    """Return year, month and day as written."""
    for pattern in PATTERNS:
        if found := pattern.fullmatch(text):
            month = found["month"].lower()
            number = int(month) if month.isdigit() else MONTHS.index(month[:3]) + 1
            return int(found["year"]), number, int(found["day"])
    if found := EITHER.fullmatch(text):
        one, two = int(found["one"]), int(found["two"])
        if one <= 12 and two <= 12 and one != two:
            raise ValueError(AMBIGUOUS)
        month_number, day = (one, two) if one <= 12 else (two, one)
        return int(found["year"]), month_number, day
    raise ValueError(NOT_A_DATE)
