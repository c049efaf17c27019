"""What every match of a regular expression must hold, as far as its syntax shows.

Literals of which one must stand in every match (the idea of R. Cox, "Regular expression matching
with a trigram index", 2012). What is not understood here gives no literals, never wrong ones.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

MAX_EXACT, MAX_CLAUSE = 2000, 4000  # texts that are listed; more would only cost time
MAX_JOINED = 200  # texts of parts that follow each other, where both have more than one
MAX_COMPARED = 200  # literals of which each is looked for in every other
MAX_LITERAL = 24  # characters; the rest of a longer literal is left out
DIGIT, UPPER = "\0digit", "\0upper"  # stand for any character of a class
# `regex` takes all four letters i of Turkish for equal; U+0307 is left of the dotted capital.
FOLDED = str.maketrans({"\u0131": "i", "\u0307": None})
EDGE = "\x01"  # stands where a word, a run of letters and digits, begins or ends
PARTS = regex.compile(r"[\p{L}\d]+|[^\p{L}\d]+")
ASCII_PARTS = re.compile(r"[a-z0-9]+|[^a-z0-9]+")
# Beside a letter or digit these stand for the end of a word, like \b.
NO_WORD = r"\?<?!(?:\\w|\[(?:\\w|\\p\{L\}(?:\\p\{M\})?\\d)[^\]\[]*\])(?=[|)])"
CAPITALS = ("\\p{Lu}", "\\p{Lt}")
MAX_CLASS = 16  # characters that a class may have to be spelled out
ZERO_WIDTH = "BAZzKG"
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}

Clause = frozenset[str]
NOTHING: Clause = frozenset({""})


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a part: all texts that it matches (None: too many), and its clauses.

    A clause is a set of literals of which at least one stands in whatever the part matches.
    """

    exact: Clause | None
    clauses: frozenset[Clause] = frozenset()

    def all_clauses(self) -> frozenset[Clause]:
        own = _clause(self.exact) if self.exact is not None else None
        return self.clauses | {own} if own else self.clauses


EMPTY, UNKNOWN = _Facts(NOTHING), _Facts(None)


class _Unknown(Exception):
    """The pattern uses syntax that is not parsed here."""


def parts(folded: str) -> list[str]:
    """Return the words of a folded text and what stands between them, in turn."""
    return (ASCII_PARTS if folded.isascii() else PARTS).findall(folded)


def joined(found: Sequence[str]) -> str:
    """Return the text of parts() with EDGE where words begin and end."""
    if not found:
        return ""
    return EDGE * is_word(found[0]) + EDGE.join(found) + EDGE * is_word(found[-1])


def is_word(part: str) -> bool:
    """Return whether one of the parts is a word."""
    return part[:1].isalpha() or part[:1].isdecimal()


def fold(text: str) -> str:
    """Return `text` as literals are compared: without case, as `regex` sees it."""
    folded = text.casefold()
    return folded if folded.isascii() else folded.translate(FOLDED)


def _with_edges(literal: str) -> str:
    """Mark where words begin and end inside a literal; at its ends only what is known counts."""
    inside = joined(parts(literal.replace(EDGE, "")))
    if not literal.startswith(EDGE):
        inside = inside.removeprefix(EDGE)
    return inside if literal.endswith(EDGE) else inside.removesuffix(EDGE)


@lru_cache(maxsize=4096)
def required(pattern: str) -> frozenset[Clause]:
    """Return sets of folded literals; from each set one stands in every match of `pattern`."""
    try:
        parser = _Parser(pattern)
        facts = parser.alternatives()
    except _Unknown:
        return frozenset()
    return facts.all_clauses() if parser.at_end else frozenset()


def _clause(literals: Iterable[str]) -> Clause | None:
    """Return the literals without those that hold another; None if they say nothing."""
    found = {one if one in (DIGIT, UPPER) else _with_edges(one) for one in literals}
    if len(found) > MAX_CLAUSE or any(_is_everywhere(one) for one in found):
        return None
    if len(found) > MAX_COMPARED:
        return frozenset(found)
    return frozenset(
        one for one in found if not any(other != one and other in one for other in found)
    )


def _is_everywhere(literal: str) -> bool:
    """Return whether nearly every text holds a literal."""
    bare = literal.strip(EDGE + " ")
    return not bare or (len(literal) == 1 and literal.isalnum())


def _best(clauses: Iterable[Clause]) -> Clause | None:
    """Return the clause that is met least often: of long literals, and few of them."""
    words = [clause for clause in clauses if not clause & {DIGIT, UPPER}]
    return max(words, key=lambda one: (min(map(len, one)), -len(one)), default=None)


def _either(branches: Sequence[_Facts]) -> _Facts:
    """Return what holds whichever branch matches."""
    exact: set[str] | None = set()
    for branch in branches:
        exact = None if exact is None or branch.exact is None else exact | branch.exact
    if exact is not None and len(exact) <= MAX_EXACT:
        return _Facts(frozenset(exact))
    known = [branch.all_clauses() for branch in branches]
    clauses = set(frozenset.intersection(*known))
    best = [_best(one) or min(one, key=sorted, default=None) for one in known]
    joined = _clause(literal for one in best for literal in one or ("",))
    return _Facts(None, frozenset(clauses | ({joined} if joined else set())))


def _few(left: Clause, right: Clause) -> bool:
    """Return whether all texts of two parts that follow each other are worth listing."""
    if min(len(left), len(right)) <= 1:
        return max(len(left), len(right)) <= MAX_EXACT
    return len(left) * len(right) <= MAX_JOINED


class _Sequence:
    """Facts of parts that follow each other."""

    def __init__(self) -> None:
        self._exact = NOTHING
        self._whole = True
        self._clauses: frozenset[Clause] = frozenset()

    def add(self, part: _Facts) -> None:
        self._clauses |= part.clauses
        if part.exact is not None and _few(self._exact, part.exact):
            joined = {left + right for left in self._exact for right in part.exact}
            if all(len(one) <= MAX_LITERAL for one in joined):
                self._exact = frozenset(joined)
                return
        self._whole = False
        self._clauses |= _Facts(self._exact).all_clauses()
        self._exact = part.exact if part.exact is not None else NOTHING

    def facts(self) -> _Facts:
        if self._whole:
            return _Facts(self._exact, self._clauses)
        return _Facts(None, self._clauses | _Facts(self._exact).all_clauses())


@lru_cache
def _compiled(pattern: str) -> "regex.Pattern[str]":
    return regex.compile(pattern)


class _Parser:
    """Recursive descent over the syntax of `regex` that rules use."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._any_case = False

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, expected: str) -> bool:
        found = self._text.startswith(expected, self._at)
        self._at += len(expected) if found else 0
        return found

    def _match(self, pattern: str) -> str:
        found = _compiled(pattern).match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def alternatives(self) -> _Facts:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else _either(branches)

    def _sequence(self) -> _Facts:
        result = _Sequence()
        while not self.at_end and self._peek() not in "|)":
            result.add(self._repeated(self._atom()))
        return result.facts()

    def _repeated(self, part: _Facts) -> _Facts:
        sign = self._match(r"[?*+]|\{\d*,?\d*\}")
        if not sign:
            return part
        self._match(r"[?+]")
        bounds = sign.strip("{}").split(",") if sign[0] == "{" else []
        if sign == "?" or bounds == ["0", "1"]:
            return _Facts(None if part.exact is None else part.exact | NOTHING)
        if sign == "+" or (bounds and bounds[0] not in ("", "0")):
            return part if bounds == ["1"] else _Facts(None, part.all_clauses())
        return UNKNOWN

    def _atom(self) -> _Facts:
        if self._take("("):
            return self._group()
        if self._take("["):
            return self._class()
        if self._take("\\"):
            return self._escape()
        if self._match(r"[\^$]"):
            return EMPTY
        if self._take("."):
            return UNKNOWN
        if self._match(r"[*+?{]"):
            raise _Unknown
        return _Facts(frozenset({fold(self._match(r"[\w ,:;'\"/-]{2,}(?![?*+{])|(?s:.)"))}))

    def _skipped(self) -> None:
        """Pass over the rest of a group that says nothing of what a match holds."""
        depth = 1
        while depth:
            token = self._match(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()]|[^\\\[()]+")
            if not token:
                raise _Unknown
            depth += {"(": 1, ")": -1}.get(token, 0)

    def _group(self) -> _Facts:
        if self._match(NO_WORD):
            self._skipped()
            return _Facts(frozenset({EDGE}))
        if flags := self._match(r"\?[ims]+\)"):
            if self._at != len(flags) + 1:  # it holds for what stands before, too
                raise _Unknown
            self._any_case |= "i" in flags
            return EMPTY
        head = self._match(r"\?(?:[ims]*:|=|!|<=|<!|>)")
        if not head and self._peek() == "?":
            raise _Unknown
        if head in ("?!", "?<!"):
            self._skipped()
            return EMPTY
        outside = self._any_case
        self._any_case |= "i" in head
        facts = self.alternatives()
        self._any_case = outside
        if not self._take(")"):
            raise _Unknown
        if head in ("?=", "?<="):
            return _Facts(NOTHING, facts.all_clauses())
        return facts

    def _escape(self) -> _Facts:
        if self._take("b"):
            return _Facts(frozenset({EDGE}))
        if self._match(f"[{ZERO_WIDTH}]"):
            return EMPTY
        if self._match(r"\d") or self._match("[1-9]"):  # what a group matched, again
            return UNKNOWN
        return self._one_of([self._escaped()])

    def _escaped(self) -> tuple[str, str]:
        """Return the first and last character of an escape; of a class, its name twice."""
        if name := self._match(r"[dDwWsS]|[pP](?:\{[^}]*\}|[A-Z])"):
            return f"\\{name}", f"\\{name}"
        if digits := self._match(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}"):
            return (chr(int(digits[1:], 16)),) * 2
        char = self._peek()
        self._at += 1
        if char in CONTROLS:
            return (CONTROLS[char],) * 2
        if char.isalnum() or not char:
            raise _Unknown
        return char, char

    def _class(self) -> _Facts:
        negated = self._take("^")
        members: list[tuple[str, str]] = []
        while not (members and self._take("]")):
            if self.at_end or self._match(r"\[:|--|&&|\|\||~~"):
                raise _Unknown
            first, last = self._member()
            if self._match(r"-(?=[^\]])"):
                _, last = self._member()
            members.append((first, last))
        return UNKNOWN if negated else self._one_of(members)

    def _member(self) -> tuple[str, str]:
        if self._take("\\"):
            return self._escaped()
        char = self._peek()
        self._at += 1
        return char, char

    def _one_of(self, members: Sequence[tuple[str, str]]) -> _Facts:
        """Return the facts of one character out of ranges and classes."""
        if all(first in ("\\d",) or "0" <= first <= last <= "9" for first, last in members):
            return _Facts(None, frozenset({frozenset({DIGIT})}))
        capitals = (first in CAPITALS or "A" <= first <= last <= "Z" for first, last in members)
        if all(capitals) and not self._any_case:
            return _Facts(None, frozenset({frozenset({UPPER})}))
        if any(first.startswith("\\") and len(first) > 1 for first, _ in members):
            return UNKNOWN
        codes = {code for a, b in members for code in range(ord(a), min(ord(b), ord(a) + 99) + 1)}
        if len(codes) > MAX_CLASS:
            return UNKNOWN
        return _Facts(frozenset(fold(chr(code)) for code in codes))
