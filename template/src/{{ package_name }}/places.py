"""American places: what 45 CFR 164.514 lets stand of an address, and what has to go."""

import regex

from .grammars import expand

# Three-digit ZIP areas of at most 20,000 people, which become 000 (45 CFR 164.514(b)(2)(i)(B)).
# The first line is the list in the guidance on de-identification of the US Department of Health
# and Human Services (26 November 2012; census of 2000). The guidance says not to rely on it
# where newer data exists, so the second line adds those that lists from the census of 2010
# name. One too many costs three digits; one too few would point at a small place.
SMALL_AREAS = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893 205 369 753 772"
SMALL_ZIP3 = frozenset(SMALL_AREAS.split())
# USPS Publication 28, appendix B. As names alone, New York and Washington may be cities.
STATE_NAMES = (
    "Alabama|Alaska|American Samoa|Arizona|Arkansas|California|Colorado|Connecticut|Delaware"
    "|District of Columbia|Florida|Georgia|Guam|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas"
    "|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri"
    "|Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York State"
    "|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Puerto Rico|Rhode Island"
    "|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virgin Islands|Virginia"
    "|Washington State|West Virginia|Wisconsin|Wyoming"
)
STATE = expand("(?&STATE)")
STATE_ALONE = regex.compile(rf"{STATE}|(?i:{STATE_NAMES})")
ZIP = regex.compile(r"(?P<zip>\d{5})(?:[ -]?\d{4})?")
# The end of an address: a state, a ZIP code, or both. A state without a ZIP code needs a comma
# before it: IN and OR are words.
TAIL = regex.compile(
    rf"(?:^|(?<=[,\s]))(?P<state>{STATE}|{STATE_NAMES})[,\s]+{ZIP.pattern}\s*$"
    rf"|(?<=,\s{{0,3}})(?P<state>{STATE}|{STATE_NAMES}|New York|Washington)\s*$"
)
# A city stands between comma or line end and the state. With a digit, a word for a part of a
# house or a kind of street in it, it is no city.
CITY = regex.compile(r"[,\n]\s*(?P<city>\p{Lu}[\p{L}\p{M}'\u2019. \-]{1,40}?)\s*,?\s*$")
NO_CITY = regex.compile(
    rf"(?i)\b(?:apt|apartment|suite|ste|unit|floor|fl|room|rm|building|bldg|flat|box|c/o"
    rf"|{expand('(?&STREET_TYPE)')})\b"
)


def zip3(code: str) -> str:
    """Return the first three digits of a ZIP code, 000 where too few people live there."""
    return "000" if code[:3] in SMALL_ZIP3 else code[:3]


def without_small_places(text: str, label: str) -> str:
    """Return what Safe Harbor lets stand of a place: the state and three digits of the ZIP code.

    Args:
        text: An address or a place as it is written.
        label: What stands for the rest.
    """
    text = text.strip()
    if STATE_ALONE.fullmatch(text):
        return text
    if found := ZIP.fullmatch(text):
        return zip3(found["zip"])
    if found := TAIL.search(text):
        rest = f"{found['state']} {zip3(found['zip'])}" if found["zip"] else found["state"]
        return f"{label}, {rest}" if text[: found.start()] else rest
    return label


def without_street(text: str, label: str) -> str:
    """Return what a limited data set lets stand of an address: city, state and five-digit ZIP.

    Args:
        text: An address as it is written.
        label: What stands for the street, and for all that cannot be told apart from it.
    """
    found = TAIL.search(text.strip())
    if not found:
        return label
    before = text.strip()[: found.start()]
    code = f" {found['zip']}" if found["zip"] else ""
    city = CITY.search(before)
    if city and not NO_CITY.search(city["city"]):
        return f"{label}, {city['city']}, {found['state']}{code}"
    return f"{label}, {found['state']}{code}"
