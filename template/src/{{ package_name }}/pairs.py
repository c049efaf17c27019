"""Documents -> rows of questions, passages and answers, for training in the format `alpaca`.

The rows are raw data again and pass through the preparation like any other. What is sent to an
endpoint is scrubbed first; what is written outside data/raw is scrubbed as well.
"""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chunks import HEADING_SEPARATOR, MAX_WORDS, Chunk, Document, count_words, cut
from .config import Config
from .documents import DOCUMENTS, find_documents, read_documents
from .endpoint import Endpoint, MalformedReply, ask, request_body
from .errors import Problem, UserError
from .grounding import check
from .keys import Keys, load_keys
from .manifest import shown_name
from .policies import PLACEHOLDER
from .questions import (
    ABSENT,
    MAX_QUESTION_WORDS,
    MIN_ANSWER_WORDS,
    REFUSAL,
    RULES,
    Candidate,
    absent,
    candidates,
    digest,
)
from .records import canonical
from .utils import write_text
from .workers import load_scrubber

if TYPE_CHECKING:
    from .scrub import Scrubber

RAW = "data/raw"
FROM_ENDPOINT = "endpoint"
BATCH_CHUNKS = 64
REPORT_EVERY = 25  # chunks between two lines about the progress of an endpoint
FORM = re.compile(r"_{3,}|\.{4,}|\u2026{2,}|-{5,}")  # lines for a signature, a date, a name
MIN_WORDS = {"heading": MIN_ANSWER_WORDS, "heading_question": 3, "faq": 2, FROM_ENDPOINT: 1}


@dataclass(frozen=True, slots=True)
class Task:
    """What to make.

    Attributes:
        documents: Files and folders.
        out: The jsonl file that is written.
        scrub: Scrub the passages; also lets `out` lie outside data/raw.
        words: Longest passage in words.
        absent: Share (0 to below 1) of pairs whose question the passage does not answer.
        endpoint: Asked for more pairs, or None.
    """

    documents: Sequence[Path]
    out: Path
    scrub: bool = False
    words: int = MAX_WORDS
    absent: float = 0.1
    endpoint: Endpoint | None = None


@dataclass(slots=True)
class Summary:
    """What became of the documents."""

    documents: int = 0
    sections: int = 0
    chunks: int = 0
    pairs: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    asked: int = 0
    without: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def make_pairs(config: Config, task: Task, write: bool = True) -> Summary:
    """Make the pairs of all documents and write them.

    Args:
        config: The run; its scrubber and its key are used.
        task: What to make.
        write: False: ask no endpoint, write nothing.

    Raises:
        UserError: documents or settings that cannot be used; then nothing is written.
    """
    _check_task(config, task)
    paths, others = find_documents(task.documents)
    out = task.out.resolve()
    summary = Summary(others=Counter(path.suffix for path in others if path.resolve() != out))
    if not paths:
        allowed = ", ".join(DOCUMENTS)
        raise UserError(Problem("--documents", "no document was found", allowed))
    documents = read_documents(paths, config.root)
    chunks = [chunk for document in documents for chunk in cut(document, task.words)]
    _count(summary, documents, chunks)
    written: list[dict[str, Any]] = []
    if task.scrub or task.endpoint:
        keys, _ = load_keys(config, create=write)
        scrubber = load_scrubber(config, keys)
        chunks = [*_scrubbed(scrubber, chunks, summary)]
        if task.endpoint and write:
            written = _from_endpoint(task, chunks, keys, scrubber, summary)
    rows = [row for chunk in chunks for row in _checked(chunk, candidates(chunk), summary)]
    rows = [*_unique([*rows, *written], summary)]
    rows += _absent_rows(chunks, rows, task.absent)
    summary.pairs = Counter(row["kind"] for row in rows)
    answered = {row["document"] for row in rows if row["kind"] != ABSENT}
    summary.without = [row.name for row in documents if row.name not in answered]
    if write:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return summary


def _check_task(config: Config, task: Task) -> None:
    problems = [
        Problem("--documents", f"{shown_name(config, path)} does not exist")
        for path in task.documents
        if not path.exists()
    ]
    if task.out.suffix != ".jsonl":
        problems.append(Problem("--out", "not a jsonl file", "a name that ends with .jsonl"))
    if not task.scrub and not task.out.resolve().is_relative_to(config.path(RAW)):
        fix = "choose a place there, or add --scrub"
        found = "unscrubbed text would be written outside data/raw"
        problems.append(Problem("--out", found, f"a file below {RAW}/", fix))
    if not 0 <= task.absent < 1:
        problems.append(Problem("--absent", "no share", "0 to below 1"))
    if task.words < 2 * MIN_ANSWER_WORDS:
        problems.append(Problem("--words", "too few", f"{2 * MIN_ANSWER_WORDS} or more"))
    if problems:
        raise UserError(problems)


def _count(summary: Summary, documents: Sequence[Document], chunks: Sequence[Chunk]) -> None:
    summary.documents = len(documents)
    summary.sections = sum(len(document.sections) for document in documents)
    summary.chunks = len(chunks)
    summary.notes = [f"{row.name}: {note}" for row in documents for note in row.notes]


def _scrubbed(scrubber: "Scrubber", chunks: Sequence[Chunk], summary: Summary) -> Iterator[Chunk]:
    """Yield the chunks with scrubbed headings and text; one that cannot be scrubbed is dropped.

    Heading and text are scrubbed as one: each tells about the names in the other.
    """
    from .scrub import Scrubbed

    rest = iter(chunks)
    while batch := [*islice(rest, BATCH_CHUNKS)]:
        results = scrubber.scrub_each([chunk.passage for chunk in batch])
        for chunk, result in zip(batch, results, strict=True):
            if not isinstance(result, Scrubbed):
                summary.dropped["chunk: cannot be scrubbed"] += 1
                continue
            text = result.text if chunk.heading else f"\n\n{result.text}"
            head, _, text = text.partition("\n\n")
            heading = tuple(head.split(HEADING_SEPARATOR)) if head else ()
            yield replace(chunk, heading=heading, text=text)


def _checked(
    chunk: Chunk, found: Iterator[Candidate], summary: Summary
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the candidates that pass; the others are counted by reason."""
    passage = chunk.passage
    for candidate in found:
        grounding = check(candidate.answer, passage)
        if reason := _fault(candidate) or grounding.reason:
            summary.dropped[reason] += 1
        else:
            yield _row(chunk, candidate, grounding.score)


def _fault(candidate: Candidate) -> str:
    """Return why a pair is of no use, or nothing."""
    if count_words(candidate.answer) < MIN_WORDS.get(candidate.kind, MIN_ANSWER_WORDS - 2):
        return "answer too short"
    if count_words(candidate.question) > MAX_QUESTION_WORDS:
        return "question too long"
    if len(FORM.findall(candidate.answer)) > 1:
        return "form to fill in"
    # Once scrubbed, a question about a person asks about nobody.
    return "identifier in the question" if PLACEHOLDER.search(candidate.question) else ""


def _row(chunk: Chunk, candidate: Candidate, grounded: float) -> dict[str, Any]:
    passage = chunk.passage
    sha256 = hashlib.sha256(passage.encode()).hexdigest()
    return {
        "instruction": candidate.question,
        "input": passage,
        "output": candidate.answer,
        "source": {"file": chunk.file, "place": chunk.place, "sha256": sha256},
        "document": chunk.file,
        "kind": candidate.kind,
        "grounded": round(grounded, 3),
    }


def _unique(rows: Sequence[dict[str, Any]], summary: Summary) -> Iterator[dict[str, Any]]:
    """Yield the rows without those that ask the same of the same passage again."""
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = (" ".join(row["instruction"].casefold().split()), row["input"])
        if key in seen:
            summary.dropped["question asked before"] += 1
        else:
            seen.add(key)
            yield row


def _absent_rows(
    chunks: Sequence[Chunk], rows: Sequence[Mapping[str, Any]], share: float
) -> Iterator[dict[str, Any]]:
    """Yield rows whose question another document answers; the right answer is REFUSAL."""
    # Rows of tables are many and much alike: they come last.
    order = sorted(rows, key=lambda row: (row["kind"] == "table", digest(row["instruction"])))
    questions = [*dict.fromkeys((row["document"], row["instruction"]) for row in order)]
    wanted = round(len(rows) * share / (1 - share))
    for chunk, question in absent(chunks, questions, wanted):
        yield _row(chunk, Candidate(ABSENT, question, REFUSAL), 1.0)


def _from_endpoint(
    task: Task, chunks: Sequence[Chunk], keys: Keys, scrubber: "Scrubber", summary: Summary
) -> list[dict[str, Any]]:
    """Return the rows of an endpoint's answers; those of an earlier run are read again.

    The file of answers lies beside the output. Its keys are keyed hashes of the whole request,
    so that another model, passage or wording is asked anew.
    """
    assert task.endpoint is not None, "the caller checked"
    path = task.out.resolve().with_name(f".{task.out.name}.answers")
    finished = _read_answers(path)
    write_text(path, "".join(_answer_line(key, pairs) for key, pairs in finished.items()))
    rows: list[dict[str, Any]] = []
    with path.open("a", encoding="utf-8", newline="\n") as handle:
        for number, chunk in enumerate(chunks, 1):
            body = request_body(task.endpoint, chunk.passage)
            key = keys.digest("endpoint", canonical([body, task.scrub]).encode()).hex()
            if key not in finished:
                summary.asked += 1
                try:
                    pairs = ask(task.endpoint, body)
                except MalformedReply:
                    summary.malformed += 1
                    continue
                finished[key] = _scrub_pairs(scrubber, pairs) if task.scrub else pairs
                handle.write(_answer_line(key, finished[key]))
                handle.flush()  # a killed run goes on from here
            found = (Candidate(FROM_ENDPOINT, *pair) for pair in finished[key])
            rows += _checked(chunk, found, summary)
            if number % REPORT_EVERY == 0:
                print(f"endpoint: {number} of {len(chunks)} passages", file=sys.stderr)
    return rows


def _scrub_pairs(scrubber: "Scrubber", pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Scrub what the endpoint wrote; a pair that cannot be scrubbed is left out."""
    from .scrub import Scrubbed

    both = [[*scrubber.scrub_each(pair)] for pair in pairs]
    return [
        (question.text, answer.text)
        for question, answer in both
        if isinstance(question, Scrubbed) and isinstance(answer, Scrubbed)
    ]


def _answer_line(key: str, pairs: Sequence[tuple[str, str]]) -> str:
    return json.dumps({"key": key, "pairs": pairs}) + "\n"


def _read_answers(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the answers of earlier runs; a last line that a kill cut short does not count."""
    answers: dict[str, list[tuple[str, str]]] = {}
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    for line in lines:
        row = json.loads(line)
        answers[row["key"]] = [(question, answer) for question, answer in row["pairs"]]
    return answers


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary for people."""
    order = [*(rule.kind for rule in RULES), FROM_ENDPOINT, ABSENT]
    kinds = ", ".join(f"{k} {summary.pairs[k]}" for k in order if summary.pairs[k])
    counts = f"{summary.documents} ({summary.sections} sections, {summary.chunks} chunks)"
    lines = [f"documents   {counts}", f"pairs       {summary.pairs.total()} ({kinds or 'none'})"]
    if summary.dropped:
        reasons = ", ".join(f"{name} {count}" for name, count in summary.dropped.most_common())
        lines.append(f"dropped     {summary.dropped.total()} ({reasons})")
    if summary.asked:
        lines.append(f"endpoint    {summary.asked} asked, {summary.malformed} replies malformed")
    if summary.others:
        lines.append("not read    " + ", ".join(f"{n} {s}" for s, n in summary.others.items()))
    lines += [f"no pair     {name}" for name in summary.without]
    return [*lines, *(f"note        {note}" for note in summary.notes)]
