"""Recognizer rules of the packs: read from YAML, checked, and turned into presidio objects.

A file is a list of rows: type, name, patterns (name, regex, score), context, checksum, source,
keep, languages. `regex` is a string or a list of strings that are joined. It may use the
fragments of GRAMMARS as `(?&NAME)`; what stands before `\\K` must be there but is not part of the
match.
`languages` limits a row to data in one of them.
Beside it, allow.txt and deny.txt hold one text a line that is always kept or always removed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import regex
from presidio_analyzer import AnalysisExplanation, LocalRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .checksums import CHECKSUMS
from .errors import Problem, UserError
from .grammars import GRAMMARS, expand
from .languages import CODES

LANGUAGE = "en"
CONTEXT_WINDOW = 60  # characters before a match (and half of it after) searched for its context
CONTEXT_BOOST = 0.35  # what a context word adds to the score; presidio's own default
# A pattern that needs longer for one text (of at most 100,000 characters) is not trusted: all
# patterns of the packs need less than a second.
PATTERN_SECONDS = 30
# Looking at the clock takes a quarter of the time. Patterns of the packs are tested to be linear
# (tests/test_rules.py), so on a short text they need no clock; those of domains/custom do.
SHORT_TEXT = 2000  # characters
FLAGS = int(regex.MULTILINE)  # the parser adds flags a million times: slow as members of an enum
OPTIONAL = {"context", "checksum", "keep", "languages"}
ROW_KEYS = {"type", "name", "patterns", "source", *OPTIONAL}
PATTERN_KEYS = {"name", "regex", "score"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a recognizers file; `name` is `<pack>/<row name>` and unique in a run."""

    type: str
    name: str
    patterns: tuple[tuple[str, str, float], ...]
    context: tuple[str, ...] = ()
    checksum: str | None = None
    keep: bool = False
    languages: tuple[str, ...] = ()


class RuleRecognizer(LocalRecognizer):
    """presidio recognizer of one rule: patterns, then check digit, then context words."""

    def __init__(self, rule: Rule) -> None:
        super().__init__([rule.type], name=rule.name, supported_language=LANGUAGE)
        self._rule = rule
        self._compiled = [compiled(text) for _, text, _ in rule.patterns]
        words = "|".join(regex.escape(word) for word in rule.context)
        self._context = regex.compile(rf"(?i)\b(?:{words})\b") if words else None
        self._checksum = CHECKSUMS[rule.checksum] if rule.checksum else None
        self._own = rule.name.startswith("custom/")
        self._metadata = {RecognizerResult.RECOGNIZER_NAME_KEY: rule.name}

    def load(self) -> None:
        """Do nothing: everything is in the rule."""

    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: NlpArtifacts | None = None,  # noqa: ARG002 - the signature is presidio's
    ) -> list[RecognizerResult]:
        """Return the matches of all patterns."""
        if self._rule.type not in entities:
            return []
        return [one for number in range(len(self._compiled)) for one in self.matches(text, number)]

    def matches(self, text: str, number: int) -> list[RecognizerResult]:
        """Return the matches of one pattern; with a context word nearby each scores more.

        Raises:
            TimeoutError: the pattern took too long; presidio itself would pass over it.
        """
        results = []
        seconds = PATTERN_SECONDS if self._own or len(text) > SHORT_TEXT else None
        for match in self._compiled[number].finditer(text, timeout=seconds):
            start, end = match.span()
            if start == end or (self._checksum and not self._checksum(match[0])):
                continue
            word = self._context_word(text, start, end) if self._context else None
            results.append(self._result(number, start, end, word))
        return results

    def _context_word(self, text: str, start: int, end: int) -> str | None:
        assert self._context is not None
        before = self._context.search(text[max(0, start - CONTEXT_WINDOW) : start])
        found = before or self._context.search(text[end : end + CONTEXT_WINDOW // 2])
        return found[0] if found else None

    def _result(self, number: int, start: int, end: int, word: str | None) -> RecognizerResult:
        pattern, _, base = self._rule.patterns[number]
        score = min(1.0, base + CONTEXT_BOOST) if word else base
        explanation = AnalysisExplanation(self._rule.name, base, pattern)
        explanation.supportive_context_word = word or ""
        return RecognizerResult(self._rule.type, start, end, score, explanation, self._metadata)


@lru_cache(maxsize=1024)
def compiled(text: str) -> regex.Pattern[str]:
    """Return a pattern, compiled once in a process: long lists of names take time.

    Raises:
        regex.error: it is none.
    """
    return regex.compile(text, FLAGS, cache_pattern=False)


def recognizer_files(domains: Path, packs: Sequence[str]) -> list[Path]:
    """Return the files of the packs, general first, and of `domains/custom` where they exist.

    Raises:
        UserError: a pack that is not there; the packs that are there are listed.
    """
    names = ["general", *(name for name in packs if name not in ("general", "custom"))]
    known = sorted(path.parent.name for path in domains.glob("*/recognizers.yaml"))
    problems = [
        Problem("packs", f"no pack `{name}` below {domains}", allowed=", ".join(known))
        for name in names
        if name not in known
    ]
    if problems:
        raise UserError(problems)
    custom = (domains / "custom" / name for name in ("recognizers.yaml", "allow.txt", "deny.txt"))
    return [domains / name / "recognizers.yaml" for name in names] + [
        path for path in custom if path.is_file()
    ]


def load_rules(files: Sequence[Path]) -> list[Rule]:
    """Read recognizers.yaml, allow.txt and deny.txt files.

    Raises:
        UserError: every wrong row of every file, by file and row; no rule is skipped silently.
    """
    rules: list[Rule] = []
    problems: list[Problem] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(str(path), f"cannot be read ({type(error).__name__})"))
            continue
        if path.suffix == ".txt":
            rules.extend(_word_list(path, text))
        else:
            rules.extend(_yaml_rules(path, text, problems))
    names = [rule.name for rule in rules]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(Problem(name, "two rows have this name", fix="rename one of them"))
    if problems:
        raise UserError(problems)
    return rules


def _word_list(path: Path, text: str) -> Iterator[Rule]:
    """Make one rule of an allow.txt or deny.txt; blank lines and `#` comments are left out."""
    lines = (line.strip() for line in text.splitlines())
    words = [regex.escape(word) for word in lines if word and not word.startswith("#")]
    if words:
        pattern = ("list", rf"(?i)(?<!\w)(?:{'|'.join(words)})(?!\w)", 1.0)
        keep = path.stem == "allow"
        name = f"{path.parent.name}/{path.name}"
        yield Rule("ALLOWED" if keep else "CUSTOM", name, (pattern,), keep=keep)


def _yaml_rules(path: Path, text: str, problems: list[Problem]) -> Iterator[Rule]:
    """Yield the sound rows of one YAML file and add what is wrong with the others."""
    try:
        rows = YAML(typ="safe", pure=True).load(text) or []
    except YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        problems.append(Problem(f"{path}:{line}", "not valid YAML"))
        return
    if not isinstance(rows, list):
        problems.append(Problem(str(path), "not a list of recognizers"))
        return
    for position, row in enumerate(rows, start=1):
        wrong = list(_row_problems(row))
        problems.extend(Problem(f"{path}: row {position}", text) for text in wrong)
        if not wrong:
            yield _rule(path.parent.name, row)


def _rule(pack: str, row: dict[str, Any]) -> Rule:
    """Build the rule of a checked row."""
    patterns = tuple(
        (str(item["name"]), expand("".join(item["regex"])), float(item["score"]))
        for item in row["patterns"]
    )
    context = tuple(str(word) for word in row.get("context") or ())
    name = f"{pack}/{row['name']}"
    languages = tuple(row.get("languages") or ())
    keep = bool(row.get("keep"))
    return Rule(row["type"], name, patterns, context, row.get("checksum"), keep, languages)


def _row_problems(row: Any) -> Iterator[str]:
    """Yield one sentence for each fault of a row."""
    if not isinstance(row, dict):
        yield "not a mapping"
        return
    for key in sorted(ROW_KEYS - OPTIONAL - row.keys()):
        yield f"`{key}` is missing"
    context = row.get("context") or []
    if not (isinstance(context, list) and all(isinstance(word, str) for word in context)):
        yield "`context` must be a list of words"
    languages = row.get("languages") or []
    if not (isinstance(languages, list) and all(code in CODES for code in languages)):
        yield "`languages` must be a list of two-letter codes"
    for key in sorted(map(str, row.keys() - ROW_KEYS)):
        yield f"`{key}`: no such key"
    if not regex.fullmatch(r"[A-Z][A-Z0-9_]*", str(row.get("type", "X"))):
        yield "`type` must be capitals, digits and underscores"
    if row.get("checksum") not in (None, *CHECKSUMS):
        yield f"`checksum` is none of {', '.join(CHECKSUMS)}"
    for item in row.get("patterns") or ():
        yield from _pattern_problems(item)


def _pattern_problems(item: Any) -> Iterator[str]:
    """Yield one sentence for each fault of a pattern."""
    if not isinstance(item, dict) or item.keys() != PATTERN_KEYS:
        yield "a pattern has the keys name, regex and score"
        return
    if not isinstance(item["score"], int | float) or not 0 < item["score"] <= 1:
        yield f"pattern `{item['name']}`: score must lie above 0 and at most at 1"
    try:
        compiled(expand("".join(item["regex"])))
    except KeyError as error:
        yield f"pattern `{item['name']}`: no fragment {error}; there are {', '.join(GRAMMARS)}"
    except (regex.error, TypeError) as error:
        yield f"pattern `{item['name']}`: {error}"
