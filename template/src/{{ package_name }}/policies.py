"""What stands in the place of an identifier: one row of POLICIES for each policy.

A policy has a rule for each type of identifier, and one for the types that it does not name,
which is always the safest. The rows stand in order, strictest first.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import regex

from .date_text import shift, year_of
from .errors import Problem, UserError
from .invented import Source
from .places import without_small_places, without_street
from .surrogates import SURROGATES, surrogate

AUTO = "auto"
DEFAULT = "replace"
REDACTED = "[REDACTED]"
# What policies write, and what no rule may touch when a text is scrubbed a second time.
PLACEHOLDER = regex.compile(r"<[A-Z][A-Z0-9_]*>|\[REDACTED\]")
OVER_89 = "90+"  # the one category for ages over 89: 45 CFR 164.514(b)(2)(i)(C)
MAX_AGE = 89
MAX_SHIFT = 730  # days; a date moves back by 1 to this many


@dataclass(frozen=True, slots=True)
class Mention:
    """One identifier that is about to be replaced.

    Attributes:
        type: Of the identifier.
        text: As it is written.
        key: The project's secret key.
        subject: Keyed hash of whose text it is: dates of one subject move together.
    """

    type: str
    text: str
    key: bytes
    subject: str = ""


Rule = Callable[[Mention], str]


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to replace identifiers. The same mention must give the same text.

    Attributes:
        name: As settings and packs call it.
        doc: What it does, for the documentation.
        default: Rule of the types that `rules` does not name.
        rules: Rule of each type that is not treated like the others.
        also: Types whose rules say what to keep (`keep: true`), and that this policy removes.
    """

    name: str
    doc: str
    default: Rule
    rules: Mapping[str, Rule] = field(default_factory=dict)
    also: frozenset[str] = frozenset()

    @property
    def keeps(self) -> frozenset[str]:
        """Types that stay as they are; a finding of such a type is none."""
        return frozenset(kind for kind, rule in self.rules.items() if rule is keep)

    def replacement(self, mention: Mention) -> str:
        """Return what stands in the place of a mention."""
        return self.rules.get(mention.type, self.default)(mention)


def replace(mention: Mention) -> str:
    """Return the type in angle brackets, for example `<PERSON>`."""
    return f"<{mention.type}>"


def mask(mention: Mention) -> str:
    """Return an asterisk for each letter and digit, so that length and punctuation stay."""
    return "".join("*" if char.isalnum() else char for char in mention.text)


def redact(_mention: Mention) -> str:
    """Return the same mark for everything, so that not even the type stays."""
    return REDACTED


def keep(mention: Mention) -> str:
    """Return the text itself."""
    return mention.text


def over_89(_mention: Mention) -> str:
    """Return the category that stands for every age of 90 and more."""
    return OVER_89


def year(mention: Mention) -> str:
    """Return the year of a date, or its type where there is none.

    A year that is more than 89 years past shows an age over 89 (45 CFR 164.514(b)(2)(i)(C)).
    What counts is the year of the preparation, as data is disclosed after it.
    """
    now = datetime.datetime.now(datetime.UTC).year
    found = year_of(mention.text.strip(), now)
    if found is not None and now - found <= MAX_AGE:
        return str(found)
    return OVER_89 if found is not None and mention.type == "DATE_OF_BIRTH" else replace(mention)


def wide_place(mention: Mention) -> str:
    """Return state and three digits of the ZIP code; what is smaller goes."""
    return without_small_places(mention.text, replace(mention))


def city(mention: Mention) -> str:
    """Return city, state and ZIP code of an address; the street goes."""
    return without_street(mention.text, replace(mention))


def pseudonym(mention: Mention) -> str:
    """Return the surrogate of an identifier, or its type where none can be invented."""
    found = surrogate(mention.type, mention.text, mention.key)
    return found if found is not None else replace(mention)


def shifted(mention: Mention) -> str:
    """Return the date moved by the days of its subject, or its type.

    Without a subject all dates of a project would move alike, so none is moved.
    """
    if not mention.subject:
        return replace(mention)
    draw = Source(mention.key).draw("shift", mention.subject)
    found = shift(mention.text.strip(), -1 - draw.below(MAX_SHIFT))
    return found if found is not None else replace(mention)


POLICIES: dict[str, Policy] = {
    row.name: row
    for row in (
        Policy(
            "strict",
            "as `replace`, and also every company, country, age and case title that a rule knows",
            replace,
            also=frozenset({"AGE", "CASE_TITLE", "COMPANY", "COUNTRY", "ORGANIZATION"}),
        ),
        Policy("redact", f"`{REDACTED}` for everything: not even the type stays", redact),
        Policy("replace", "the type in angle brackets, `<PERSON>`", replace),
        Policy("mask", "an asterisk for each letter and digit, `**** *****`", mask),
        Policy(
            "safe_harbor",
            "45 CFR 164.514(b)(2): the type, but of dates the year, of places the state and three "
            "digits of the ZIP code (000 where at most 20,000 people live), `90+` for ages over 89",
            replace,
            {
                "DATE": year,
                "DATE_OF_BIRTH": year,
                "AGE_OVER_89": over_89,
                "ADDRESS": wide_place,
                "LOCATION": wide_place,
            },
        ),
        Policy(
            "gdpr_pseudonym",
            "GDPR Art. 4(5): an invented name, number or address of the same shape, everywhere the "
            f"same; the dates of one subject move back by the same 1 to {MAX_SHIFT} days",
            replace,
            {
                **dict.fromkeys(SURROGATES, pseudonym),
                "DATE": shifted,
                "DATE_OF_BIRTH": shifted,
                "AGE_OVER_89": over_89,
            },
        ),
        Policy(
            "limited_dataset",
            "45 CFR 164.514(e): the type, but dates, ages, cities, states and ZIP codes stay; for "
            "research, public health and operations under a data use agreement",
            replace,
            {
                "DATE": keep,
                "DATE_OF_BIRTH": keep,
                "AGE_OVER_89": keep,
                "LOCATION": keep,
                "ADDRESS": city,
            },
        ),
    )
}


def chosen_policy(setting: str, of_packs: Iterable[str | None]) -> str:
    """Return the policy that holds.

    Args:
        setting: `scrub.policy`; auto leaves it to the packs.
        of_packs: What each pack asks for, None where it asks for nothing. Of several, the one
            that stands first in POLICIES is taken; if there is none, DEFAULT.

    Raises:
        UserError: no such policy.
    """
    wanted = {setting} if setting != AUTO else {name for name in of_packs if name is not None}
    if wanted - POLICIES.keys():
        allowed = ", ".join([AUTO, *POLICIES])
        raise UserError(Problem("scrub.policy", "no such policy", allowed))
    return next((name for name in POLICIES if name in wanted), DEFAULT)
