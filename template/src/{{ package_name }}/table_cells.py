"""Cells of tables in a text, by the heading of their column: a name needs no other label there.

Columns are separated by bars, tabs, semicolons, commas or, in aligned tables, two blanks and more.
"""

from collections.abc import Iterator, Sequence

import regex

MAX_HEADING = 40  # characters of a heading
MAX_COLUMNS = 60
NAME = "name"  # stands for the type of a column that is headed so
# Heading of a column, what a cell must look like, and the type of what stands in it.
COLUMNS = [
    (
        "PERSON",
        r"(?:full|first|last|middle|given|family|maiden|sur|patient|client|customer|employee|member"
        r"|student|contact|account|card)[ _]?(?:holder)?[ _]?names?|surname|patient|client|customer"
        r"|employee|payee|payer|party|tenant|landlord|claimant|insured|beneficiary|holder|mother"
        r"|cardholder|account[ _]?holder|physician|doctor|provider|attorney|counsel|judge|witness"
        r"|manager|supervisor|contact(?:[ _]person)?|author|sender|recipient|assigned[ _]to|owner"
        r"|father|spouse|next of kin|emergency[ _]contact|student|teacher|agent|driver|defendant"
        r"|plaintiff|petitioner|respondent|appellant|accused",
        r"\p{Lu}[\p{L}\p{M}''\u2019.\-]{0,30}(?:,?[ ]\p{L}[\p{L}\p{M}''\u2019.\-]{0,30}){0,4}",
    ),
    # Of people only if another column says so: drugs and products have names, too.
    (
        NAME,
        r"names?",
        r"\p{Lu}[\p{L}\p{M}''\u2019.\-]{0,30}(?:,?[ ]\p{L}[\p{L}\p{M}''\u2019.\-]{0,30}){0,4}",
    ),
    (
        "ID",
        r"(?:(?:patient|customer|client|member|employee|student|policy|claim|medical record|account"
        r"|acct|iban|mrn|ssn|passport|licen[cs]e|card|routing|badge|chart|case|file|tax|national)"
        r"[ _]?(?:id|no\.?|number|nr\.?|\#)?)",
        r"(?=.{0,20}\d)[\w][\w ./*\-]{2,40}",
    ),
    (
        "ADDRESS",
        r"(?:(?:home|street|mailing|billing|shipping|postal)[ _]?)?address"
        r"(?:[ _]?(?:line)?[ _]?[12])?|street",
        r".*\p{L}.*",
    ),
    ("LOCATION", r"city|town|place of birth|birthplace|zip(?:[ _]?code)?|postal[ _]?code", r"\w.*"),
    ("DATE_OF_BIRTH", r"d\.?o\.?b\.?|date of birth|birth[ _]?date|birthday", r".*\d.*"),
    ("PHONE", r"(?:tele)?phone(?:[ _]?(?:no\.?|number))?|mobile|cell|fax", r".*\d{3}.*"),
    ("USERNAME", r"user[ _]?(?:name|id)|login", r"[\w.@\-]{2,60}"),
    ("PASSWORD", r"passw(?:or)?d|pin", r"\S{3,80}"),
    (
        "",
        r"e-?mail(?:[ _]address)?|age|sex|gender|salary|role|position|department|nationality",
        r"",
    ),
]
HEADINGS = [
    (kind, regex.compile(f"(?i:{heading})"), regex.compile(cell)) for kind, heading, cell in COLUMNS
]
SIGNS = "|\t;,"
ALIGNED = regex.compile(r"\S(?:[^\n ]|[ ](?![ ]))*")
RULER = regex.compile(r"[\s|:+=\-]+")
LINE = regex.compile(r"[^\n]+")
# Around what a cell holds.
FRAME = ' \t"*:_'

Place = tuple[int, int]


def table_cells(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield type, start and end of each cell below a heading that promises an identifier."""
    lines = [found.span() for found in LINE.finditer(text)] if "\n" in text else []
    at = 0
    while at < len(lines) - 1:
        sign, headings = _headings(text, lines[at])
        count, at = len(headings), at + 1
        while headings and at < len(lines) and lines[at][0] - lines[at - 1][1] <= 1:
            if not RULER.fullmatch(text, *lines[at]):
                cells = _cells(text, lines[at], sign)
                if len(cells) != count and (sign or not 1 < len(cells) < count):
                    break
                yield from _found(text, cells, headings)
            at += 1


def _headings(text: str, line: Place) -> tuple[str, list[tuple[int, int]]]:
    """Return what separates the columns of a heading, and for each its start and row of COLUMNS.

    There are none if the line is no heading, or promises no identifier; -1 stands for a column
    that promises none.
    """
    for sign in (*SIGNS, ""):
        cells = _cells(text, line, sign)
        if not 1 < len(cells) <= MAX_COLUMNS or max(b - a for a, b in cells) > MAX_HEADING:
            continue
        kinds = _kinds([text[start:end] for start, end in cells])
        if max(kinds) >= 0:
            return sign, [
                (start - line[0], kind) for (start, _), kind in zip(cells, kinds, strict=True)
            ]
    return "", []


def _kinds(headings: Sequence[str]) -> list[int]:
    """Return for each heading the number of its row of COLUMNS, or -1."""
    numbers = []
    for heading in headings:
        bare = heading.strip(FRAME)
        rows = (number for number, (_, name, _) in enumerate(HEADINGS) if name.fullmatch(bare))
        numbers.append(next(rows, -1))
    people = any(number >= 0 and HEADINGS[number][0] != NAME for number in numbers)
    return [number if people else -1 for number in numbers]


def _cells(text: str, line: Place, sign: str) -> list[Place]:
    """Return the places of the cells of a line; without a sign, of those two blanks apart."""
    if not sign:
        return [found.span() for found in ALIGNED.finditer(text, *line)]
    cells, start, quoted = [], line[0], False
    for at in range(*line):
        if text[at] == '"':
            quoted = not quoted
        elif text[at] == sign and not quoted:
            cells.append((start, at))
            start = at + 1
    return [*cells, (start, line[1])]


def _found(
    text: str, cells: Sequence[Place], headings: Sequence[tuple[int, int]]
) -> Iterator[tuple[str, int, int]]:
    """Yield what stands in the cells of a line; where some are missing, by what is above them."""
    first = text.rfind("\n", 0, cells[0][0]) + 1
    for number, (start, end) in enumerate(cells):
        if len(cells) != len(headings):
            number = max(
                k for k, (left, _) in enumerate(headings) if left <= start - first or not k
            )
        start += len(text[start:end]) - len(text[start:end].lstrip(FRAME))
        end = start + len(text[start:end].rstrip(FRAME))
        kind, _, shape = HEADINGS[headings[number][1]]
        if headings[number][1] >= 0 and kind and shape.fullmatch(text, start, end):
            yield kind.replace(NAME, "PERSON"), start, end
