"""Documents that try a scrubber: the rows of adversarial.toml filled with invented people.

Given names that the project itself lists are left out, so that no list helps to find them. Numbers
come from seeded code.
"""

import random
import re
import string
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

TABLE = tomllib.loads(Path(__file__).with_name("adversarial.toml").read_text(encoding="utf-8"))
SECRET = re.compile(r"\[\[(.+?)(?:\|(\w+))?\]\](?!\])", re.DOTALL)
NAMES = {key: text.split() for key, text in TABLE["names"].items()}
# Signs that OCR takes for one another.
MISREAD = {"0": "O", "1": "l", "5": "S", "8": "B"}
DASHES = ["\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\uff0d"]
BLANKS = ["\u00a0", "\u2009", "\u202f", "\u2007"]
ZEROS = [0xFF10, 0x0660, 0x06F0, 0x0966, 0x1D7CE, 0x1D7F6]  # of rows of digits in Unicode
SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENTITIES = {"@": ["&#64;", "&#x40;"], " ": ["&nbsp;", "&#160;"], "-": ["&#45;"], "/": ["&#47;"]}

Draw = random.Random
Person = dict[str, str]


def documents(seed: int, each: int, known: frozenset[str]) -> list[dict[str, Any]]:
    """Return `each` labelled documents of every kind, or all rows of a kind where those are more.

    Args:
        seed: Of what is drawn.
        each: Documents of a kind.
        known: Given names that may not be used.
    """
    draw = random.Random(seed)
    given = [name for name in NAMES["given"] if name not in known]
    made = []
    for kind, rows in TABLE["rows"].items():
        for number in range(len(rows) if kind == "look-alikes" else max(each, len(rows))):
            pack, text = rows[number % len(rows)]
            names = {"id": f"{kind} {number}", "domain": pack, "group": kind}
            made.append(names | filled(text, person(draw, given), draw))
    return made


def filled(row: str, who: Person, draw: Draw) -> dict[str, Any]:
    """Return the text of a row and the spans of what stands in double brackets."""
    text, position, spans = "", 0, []
    for found in SECRET.finditer(row):
        text += row[position : found.start()]
        kind = "TITLE" if found[1].startswith("~") else "PRIVATE"
        secret = found[1].removeprefix("~").format_map(who)
        secret = DAMAGES[found[2]](secret, draw) if found[2] else secret
        spans.append({"start": len(text), "end": len(text) + len(secret), "type": kind})
        text, position = text + secret, found.end()
    return {"text": text + row[position:], "spans": spans}


# -- facts about a person -------------------------------------------------------------------


def digits(draw: Draw, count: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(count))


def luhn(body: str) -> str:
    """Return the digits with their check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, char in enumerate(reversed(body)):
        value = int(char) * (2 - place % 2)
        total += value - 9 * (value > 9)
    return f"{body}{-total % 10}"


def iban(draw: Draw) -> str:
    account = digits(draw, 18)
    return f"DE{98 - int(f'{account}131400') % 97:02}{account}"  # D is 13, E is 14


def grouped(text: str) -> str:
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def person(draw: Draw, given: list[str]) -> Person:
    """Return an invented person."""
    (last, other), first = draw.sample(NAMES["surnames"], 2), draw.choice(given)
    year, month, day = draw.randint(1941, 1999), draw.randint(1, 12), draw.randint(13, 28)
    login = re.sub("[^a-z]", "", f"{first[0]}{last}".lower())
    who = {"first": first, "last": last, "other": other, "name": f"{first} {last}"}
    who |= {"LAST": last.upper(), "f": first[0], "l": last[0], "initial": draw.choice("ABDEHJKMRT")}
    who |= {
        "login": login,
        "local": f"{first.lower()}.{login[1:]}",
        "host": draw.choice(NAMES["words"]),
    }
    who |= {"mail": f"{who['local']}@{who['host']}.example.org", "pin": digits(draw, 4)}
    word = draw.choice(NAMES["words"])
    who |= {"password": f"{word.capitalize()}{digits(draw, 3)}{draw.choice('!#%&')}"}
    who |= {"ssn": f"{draw.randint(101, 665)}-{draw.randint(10, 98)}-{draw.randint(1000, 9998)}"}
    who |= {"phone": f"{draw.randint(212, 989)}-555-01{digits(draw, 2)}"}
    who |= {f"{key}_plain": who[key].replace("-", "") for key in ("ssn", "phone")}
    who |= {"mrn": digits(draw, 8), "account": "1" + digits(draw, 9), "iban": iban(draw)}
    who |= {"card": luhn(draw.choice(["47", "51", "55"]) + digits(draw, 13))}
    who |= {f"{key}4": grouped(who[key]) for key in ("card", "iban")}
    who |= {"head": who["card"][:6], "tail": who["card"][-4:]}
    who |= {"dob": f"{month:02}/{day}/{year}", "dob_blanks": f"{month:02} {day} {year}"}
    who |= {"iso": f"{year}-{month:02}-{day}", "day": str(day)}
    who |= {"iso_plain": f"{year}{month:02}{day}", "iso_dots": f"{year}.{month:02}.{day}"}
    who |= {"month": draw.choice(["MAR", "Sep", "Nov", "Jan"])}
    street = f"{draw.choice(NAMES['streets'])} {draw.choice(NAMES['kinds_of_street'])}"
    who |= {"street": f"{draw.randint(11, 9899)} {street}", "town": draw.choice(NAMES["towns"])}
    who["town"] = who["town"].replace("_", " ")
    who |= {"state": draw.choice(NAMES["states"]), "zip": "4" + digits(draw, 4)}
    who |= {"ip": f"81.{draw.randint(2, 250)}.{draw.randint(2, 250)}.{draw.randint(2, 250)}"}
    who |= {"docket": f"{draw.randint(1, 5)}:{draw.randint(18, 29)}-cv-{digits(draw, 5)}"}
    return who


# -- damages --------------------------------------------------------------------------------


def wide(text: str, draw: Draw) -> str:
    return draw.choice([" ", "  ", " "]).join(text)


def dashed(text: str, draw: Draw) -> str:
    return text.replace("-", draw.choice(DASHES)).replace(" ", draw.choice(BLANKS))


def foreign(text: str, draw: Draw) -> str:
    zero = draw.choice(ZEROS)
    changed = (chr(zero + int(char)) if char.isdecimal() else char for char in text)
    return dashed("".join(changed), draw)


def misread(text: str, draw: Draw) -> str:
    places = [at for at, char in enumerate(text) if char in MISREAD]
    wrong = draw.sample(places, min(len(places), draw.randint(1, 2)))
    return "".join(MISREAD[char] if at in wrong else char for at, char in enumerate(text))


def wrapped(text: str, draw: Draw) -> str:
    """Break the line at a blank, or after a hyphen."""
    at = draw.choice([found.end() for found in re.finditer("[ -]", text)])
    return text[:at].rstrip(" ") + draw.choice(["\n", "\r\n", "\n  "]) + text[at:]


def spoken(text: str, draw: Draw) -> str:
    return draw.choice([" ", ", "]).join(SPOKEN[int(char)] for char in text if char.isdecimal())


def entities(text: str, draw: Draw) -> str:
    return "".join(draw.choice(ENTITIES.get(char, [char])) for char in text)


DAMAGES: dict[str, Callable[[str, Draw], str]] = {
    "wide": wide,
    "dashed": dashed,
    "foreign": foreign,
    "misread": misread,
    "wrapped": wrapped,
    "spoken": spoken,
    "entities": entities,
    "upper": lambda text, draw: text.upper(),  # noqa: ARG005 - all damages are called alike
    "lower": lambda text, draw: text.lower(),  # noqa: ARG005
}
