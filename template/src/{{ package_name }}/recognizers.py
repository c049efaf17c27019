"""Recognizer rules of the packs: read from YAML, checked, and turned into presidio objects.

A file is a list of rows: type, name, patterns (name, regex, score), context, checksum, source,
keep. `regex` is a string or a list of strings that are joined. It may use the fragments of
GRAMMARS as `(?&NAME)`; what stands before `\\K` must be there but is not part of the match.
Beside it, allow.txt and deny.txt hold one text a line that is always kept or always removed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
from presidio_analyzer import Pattern, PatternRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .checksums import CHECKSUMS
from .errors import Problem, UserError
from .grammars import GRAMMARS, expand

LANGUAGE = "en"
CONTEXT_WINDOW = 60  # characters before a match (and half of it after) searched for its context
CONTEXT_BOOST = 0.35  # what a context word adds to the score; presidio's own default
ROW_KEYS = {"type", "name", "patterns", "context", "checksum", "source", "keep"}
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


class RuleRecognizer(PatternRecognizer):
    """presidio recognizer of one rule: patterns, then check digit, then context words."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(
            supported_entity=rule.type,
            name=rule.name,
            supported_language=LANGUAGE,
            patterns=[Pattern(name, text, score) for name, text, score in rule.patterns],
            global_regex_flags=regex.MULTILINE,
        )
        words = "|".join(regex.escape(word) for word in rule.context)
        self._context = regex.compile(rf"(?i)\b(?:{words})\b") if words else None
        self._checksum = CHECKSUMS[rule.checksum] if rule.checksum else None

    def invalidate_result(self, pattern_text: str) -> bool | None:
        """Drop a match whose check digit is wrong; a right one keeps the score of its row."""
        return not self._checksum(pattern_text) if self._checksum else None

    def analyze(
        self,
        text: str,
        entities: list[str],
        nlp_artifacts: NlpArtifacts | None = None,
        regex_flags: int | None = None,
    ) -> list[RecognizerResult]:
        """Return the matches; those with a context word nearby score CONTEXT_BOOST more."""
        results = super().analyze(text, entities, nlp_artifacts, regex_flags)
        if self._context:
            for result in results:
                window = slice(max(0, result.start - CONTEXT_WINDOW), result.start)
                after = slice(result.end, result.end + CONTEXT_WINDOW // 2)
                if self._context.search(text[window]) or self._context.search(text[after]):
                    result.score = min(1.0, result.score + CONTEXT_BOOST)
        return results


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
    return Rule(row["type"], name, patterns, context, row.get("checksum"), bool(row.get("keep")))


def _row_problems(row: Any) -> Iterator[str]:
    """Yield one sentence for each fault of a row."""
    if not isinstance(row, dict):
        yield "not a mapping"
        return
    for key in sorted(ROW_KEYS - {"context", "checksum", "keep"} - row.keys()):
        yield f"`{key}` is missing"
    context = row.get("context") or []
    if not (isinstance(context, list) and all(isinstance(word, str) for word in context)):
        yield "`context` must be a list of words"
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
        regex.compile(expand("".join(item["regex"])), regex.MULTILINE)
    except KeyError as error:
        yield f"pattern `{item['name']}`: no fragment {error}; there are {', '.join(GRAMMARS)}"
    except (regex.error, TypeError) as error:
        yield f"pattern `{item['name']}`: {error}"
