"""Dates as people write them: read, moved by days, and written back in the same form.

Where day and month cannot be told apart, a dotted date is read day first, any other month
first. `dates.parse_day` reads a column of a table and refuses such dates; in running text every
date has to be dealt with.
"""

import datetime
from dataclasses import dataclass

import regex

# Months in the languages that the rules know. May stands for itself in English, so the full
# name is tried first; an abbreviation has three letters or more.
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
}
NAMES = {language: names.split() for language, names in MONTHS.items()}
# A day and month without a year are moved within the calendar of this year. It has a 29th of
# February; an interval that crosses one may change by a day.
YEARLESS = 2000
MIDDLE = 15  # the day of which a date without a day is thought
_MONTH = r"(?P<name>\p{L}{3,12})"
_DAY = r"(?P<day>\d{1,2})(?P<suffix>st|nd|rd|th|er|º|\.)?"
_YEAR = r"(?:(?P<year>\d{4})|['\u2019]?(?P<short>\d{2}))"
_OF = r"(?:[ ](?:of|de|del))?"
FORMS = tuple(
    regex.compile(form, regex.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?:[T ,].*)?",
        r"(?P<year>(?:19|20)\d\d)(?P<month>\d\d)(?P<day>\d\d)",
        rf"(?P<one>\d{{1,2}})(?P<mark>[-/.])\s?(?P<two>\d{{1,2}})(?P=mark)\s?{_YEAR}",
        r"(?P<one>\d{1,2})(?P<mark>[-/.])(?P<two>\d{1,2})\.?",
        r"(?P<month>\d{1,2})[-/.](?P<year>\d{4})",
        rf"{_DAY}{_OF}[ .\-/]+{_MONTH}\.?(?:{_OF},?[ \-/]*{_YEAR})?",
        rf"{_MONTH}\.?[ .\-]+{_DAY}(?:(?:,[ \-]*|[ \-]+){_YEAR})?",
        rf"{_MONTH}\.?,?{_OF}[ \-]*(?P<year>\d{{4}})",
    )
)


@dataclass(frozen=True, slots=True)
class WrittenDate:
    """A date and where its parts stand. `parts`: what each is -> (start, end) in `text`."""

    text: str
    parts: dict[str, tuple[int, int]]
    year: int | None
    month: int
    day: int | None

    def date(self) -> datetime.date:
        """Return the day; what is missing is YEARLESS or MIDDLE.

        Raises:
            ValueError: there is no such day.
        """
        return datetime.date(self.year or YEARLESS, self.month, self.day or MIDDLE)


def read_date(text: str) -> WrittenDate | None:
    """Return the parts of a date, or None where the form is not known or no such day exists."""
    for form in FORMS:
        if found := form.fullmatch(text):
            date = _from_match(text, found)
            if date:
                return date
    return None


def shift(text: str, days: int) -> str | None:
    """Return the date moved by `days`, written as before; None where it cannot be read."""
    written = read_date(text)
    if written is None:
        return None
    try:
        new = written.date() + datetime.timedelta(days)
    except OverflowError:
        return None
    result = text
    for part, (start, end) in sorted(written.parts.items(), key=lambda row: -row[1][0]):
        new_part = _written(part, text[start:end], new, "name" in written.parts)
        result = result[:start] + new_part + result[end:]
    return result


def year_of(text: str, this_year: int) -> int | None:
    """Return the year of a date; a year of two digits is the last one that ended in them."""
    written = read_date(text)
    if written is None or written.year is None:
        return None
    if "short" not in written.parts:
        return written.year
    year = this_year - this_year % 100 + written.year % 100
    return year if year <= this_year else year - 100


def _from_match(text: str, found: "regex.Match[str]") -> WrittenDate | None:
    """Return the date of a match, or None where there is no such month or day."""
    groups = found.groupdict()
    parts = {name: found.span(name) for name, value in groups.items() if value is not None}
    parts.pop("mark", None)
    if "one" in parts:
        one, two = int(groups["one"]), int(groups["two"])
        day_first = one > 12 or (two <= 12 and groups["mark"] == ".")
        names = ("day", "month") if day_first else ("month", "day")
        parts[names[0]], parts[names[1]] = parts.pop("one"), parts.pop("two")
    numbers = {name: int(text[slice(*parts[name])]) for name in ("month", "day") if name in parts}
    month = _month(groups["name"])[1] + 1 if groups.get("name") else numbers["month"]
    year = int(groups["year"]) if groups.get("year") else None
    if groups.get("short"):
        year = 2000 + int(groups["short"])  # leap years of 1900 to 1999 lie alike, but for 1900
    date = WrittenDate(text, parts, year, month, numbers.get("day"))
    try:
        date.date()
    except ValueError:
        return None
    return date


def _month(name: str) -> tuple[str, int]:
    """Return language and number (0 to 11, -1: none) of the name of a month or its start."""
    low = name.lower()
    for whole in (True, False):
        for language, names in NAMES.items():
            for number, full in enumerate(names):
                if low == full.lower() if whole else full.lower().startswith(low):
                    return language, number
    return "en", -1


def _written(part: str, old: str, new: datetime.date, in_words: bool) -> str:
    """Return one part of the new date as the old one was written."""
    if part == "year":
        return f"{new.year:04d}"
    if part == "short":
        return f"{new.year % 100:02d}"
    if part == "name":
        language, number = _month(old)
        full = NAMES[language][new.month - 1]
        whole = len(old) == len(NAMES[language][number])
        name = full if whole else full[: max(3, len(old))]
        return name.upper() if old.isupper() else name.lower() if old.islower() else name.title()
    if part == "suffix":
        return _ordinal(new.day, old)
    width = len(old) if old[0] == "0" or not in_words else 1
    return str(new.month if part == "month" else new.day).zfill(width)


def _ordinal(day: int, old: str) -> str:
    """Return the ending of an ordinal number, in the language of the old one."""
    if old == ".":
        return old
    if old.lower() in ("er", "º"):
        return old if day == 1 else ""
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
