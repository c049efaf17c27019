"""Chunks -> question-answer candidates by rules, without a model. One row of RULES for each.

The rules read English. Every answer is text of the chunk as it stands; every question is made
from a heading, a term or a question that the author wrote.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .chunks import CELL_SEPARATOR, LIST_LINE, Chunk, count_words, sentences

REFUSAL = "The document does not say."
ABSENT = "not_in_document"
MIN_ANSWER_WORDS = 8
MAX_QUESTION_WORDS = 30
MAX_PARTS = 3  # chunks; a heading above more of them is a title, and says little of each
CONTINUES = re.compile(r"[a-z]|\(?[a-z]{1,4}[.)]\s")  # begins inside a sentence or a list
# Headings that say nothing about what stands below them.
_EMPTY_HEADINGS = """\
abstract|agenda|annex|appendix|background|conclusion|conclusions|contents|details|example|
examples|general|general provisions|in witness whereof|index|information|introduction|
miscellaneous|more|notes|now therefore|other|overview|preamble|recital|recitals|references|remarks|
results|rules|see also|summary|table of contents|terms|text|whereas|witnesseth"""
EMPTY_HEADINGS = frozenset(_EMPTY_HEADINGS.replace("\n", "").split("|"))
QUESTION_BLOCK = re.compile(
    r"(?:(?:Q|Question)\s*\d*\s*[:.)]\s*)?(?P<question>[^\n]{8,300}\?)\s*\n+"
    r"(?!\s*(?:Q|Question)\s*\d*\s*[:.)])",
)
ANSWER_MARK = re.compile(r"^(?:A|Answer)\s*\d*\s*[:.)]\s*")
ASKING = re.compile(
    r"^(?:how|what|when|where|which|who|whom|whose|why|is|are|am|was|were|do|does|did|can|could|"
    r"may|must|should|shall|will|would|has|have|need|in|for|to|by|at|from|on|with|under)\b",
    re.IGNORECASE,
)
DEFINITION = re.compile(
    r"(?P<term>[\"\u201c][^\"\u201c\u201d]{2,60}[\"\u201d]|[\w`][^\s,;:()]*(?: [^\s,;:()]+){0,5})"
    r"(?: (?P<is>is|are) (?=(?:a|an|the|any|defined as)\b)"
    r"| (?:(?:shall|will) (?P<stem>mean|refer to|denote|stand for)"
    r"|(?P<means>means|refers to|denotes|stands for)) )(?P<rest>.+)"
)
# What follows "is" where a sentence values its subject instead of saying what it is.
VALUED = re.compile(
    r"(?:the|an?) (?:\w+ and )?(?:best|common|constant|crucial|easy|effective|essential|first|good|"
    r"important|independent|key|leading|main|major|most|only|primary|rare|real|safe|same|serious|"
    r"significant|useful|valid|valuable|viable|well-known)\b"
)
# What cannot begin, or stand in, a term that is worth a question.
_POINTING = """
above after all also although and another any as at because before below both but by each
either else even every everything first following for former from he hence her here his how
however i if in instead it its last latter my neither next no not nothing now of on one only or
other our problem reason rest result same second she since so some such that their then there
therefore these they thing third this those though thus to unless until we what when where
whether which while who with yet you your
"""
POINTING = frozenset(_POINTING.split())
_VERBS = """
can could did do does had has have is are may might must shall should was were which who whose
that will would
"""
VERBS = frozenset(_VERBS.split())
# Verbs that begin headings of instructions; the gerund is derived.
_ACTIONS = """
access activate add adjust appeal apply approve archive ask assign attach back book borrow build
calculate call cancel change check choose claim clean clear close collect complete configure
connect contact convert copy correct create deactivate delete deploy disable download edit
enable enter escalate evaluate export extend file fill find fix follow generate get give grant
handle hire import inform install invite join keep lend load lock log maintain make manage
measure merge migrate monitor mount move notify obtain open order pass pause pay prepare print
process protect provide publish purchase read record recover refund register reinstall reject
release remove rename renew rent repair replace report request reserve reset resolve respond
restart restore retrieve return review revoke rotate run save scan schedule search secure select
send set share sign solve start stop store submit subscribe support switch test train transfer
troubleshoot try turn uninstall unlock unsubscribe update upgrade upload use validate verify
view withdraw write
"""
ACTIONS = _ACTIONS.split()
HOW_TO = re.compile(
    r"^(?:how (?:to|do (?:i|you|we)|can (?:i|you|we))"
    r"|(?:steps|procedure|instructions|guide) (?:to|for)|to) (?P<task>.+)$",
    re.IGNORECASE,
)
ITEM = re.compile(
    r"^\s*(?:(?:-|\d{1,2}[.)]) (?P<term>[A-Z`][^\s:;]*(?: [^\s:;]+){0,4}): (?P<text>\S.+)"
    # A clause with its title in the line: `12. Governing Law. This agreement ...`
    r"|(?:\d{1,2}(?:\.\d{1,2})*[.)]?|\([a-z]\)) "
    r"(?P<title>[A-Z][\w\u2019-]+(?: (?:[A-Z][\w\u2019-]*|and|by|for|in|of|on|or|the|to)){0,5})\. "
    r"(?P<clause>[A-Z].+))$"
)
NUMBER = re.compile(
    r"^(?:(?:Section|Article|Clause)\s+[\dIVX.]+[.):]?|\d+(?:\.\d+)*[.):]|\d+(?:\.\d+)+"
    r"|[IVX]+[.)]|[A-Z]\.|\d+(?=\s+[A-Z]{2}))\s+"
)
CELL = re.compile(r"^[^:|]{1,60}: \S")
_STOP = """
about does document from have into mean refer said says stand that their there this what when
where which with your
"""
STOP = frozenset(_STOP.split())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A question about a chunk and its answer."""

    kind: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to find candidates."""

    kind: str
    doc: str
    find: Callable[[Chunk], Iterator[tuple[str, str]]]


def candidates(chunk: Chunk) -> Iterator[Candidate]:
    """Yield what the rules find in a chunk, in the order of RULES."""
    for rule in RULES:
        for question, answer in rule.find(chunk):
            yield Candidate(rule.kind, question, answer)


def _heading_question(chunk: Chunk) -> Iterator[tuple[str, str]]:
    title = chunk.heading[-1] if chunk.heading else ""
    if title.endswith("?") and chunk.parts == 1:
        yield _unnumbered(title), chunk.text


def _faq(chunk: Chunk) -> Iterator[tuple[str, str]]:
    found = [match for match in QUESTION_BLOCK.finditer(chunk.text) if _begins_line(match)]
    ends = [*(match.start() for match in found[1:]), len(chunk.text)]  # of no question: unused
    for match, end in zip(found, ends, strict=False):
        question, answer = match["question"].strip(), chunk.text[match.end() : end].strip()
        marked = ANSWER_MARK.match(answer)
        if marked or ASKING.match(question):
            yield question, ANSWER_MARK.sub("", answer)


def _begins_line(match: re.Match[str]) -> bool:
    return match.start() == 0 or match.string[match.start() - 1] == "\n"


def _definition(chunk: Chunk) -> Iterator[tuple[str, str]]:
    for block in re.split(r"\n+", chunk.text):
        if _is_row(block) or block.startswith("    "):
            continue
        text = NUMBER.sub("", LIST_LINE.sub("", block))
        for start, end in sentences(text):
            sentence = text[start:end].strip()
            if question := _asked_term(sentence, chunk.text):
                yield question, sentence


def _asked_term(sentence: str, around: str) -> str:
    """Return the question that a defining sentence answers, or nothing."""
    match = DEFINITION.match(sentence)
    if not match or sentence.endswith((":", "?")) or count_words(match["rest"]) < 4:
        return ""
    words = [word.lower().strip("\"\u201c\u201d`'") for word in match["term"].split()]
    content = words[1:] if words[0] in ("the", "a", "an") else words
    if not content or not content[0] or POINTING & {content[0], content[-1]} or VERBS & {*words}:
        return ""
    term = _uncapitalised(match["term"], around)
    if match["is"]:
        return "" if VALUED.match(match["rest"]) else f"What {match['is']} {term}?"
    verb = match["stem"] or re.sub(r"^(\w+)s\b", r"\1", match["means"])
    return f"What does {term} {verb}?"


def _uncapitalised(term: str, around: str) -> str:
    """Return a term without the capital that only begins its sentence."""
    first = re.match(r"[A-Z][a-z]*\b", term)
    if not first or not re.search(rf"(?<!\w){first[0].lower()}(?!\w)", around):
        return re.sub(r"^(The|An?) ", lambda article: article[0].lower(), term)
    return first[0].lower() + term[first.end() :]


def _how_to(chunk: Chunk) -> Iterator[tuple[str, str]]:
    task = _task(chunk.heading[-1]) if chunk.heading else ""
    blocks = chunk.text.split("\n\n")
    lists = [index for index, block in enumerate(blocks) if _is_procedure(block)]
    if task and lists:
        yield f"How do I {task}?", "\n\n".join(blocks[: lists[-1] + 1]).strip()


def _is_procedure(block: str) -> bool:
    """Return whether a block is a numbered list, or a list of which most items tell to act."""
    marks = [match for line in block.split("\n") if (match := LIST_LINE.match(line))]
    if len(marks) < 2 or marks[0][0].strip()[0].isdigit():
        return len(marks) > 1
    firsts = [mark.string[mark.end() :].split()[0].lower().strip("`,:") for mark in marks]
    return 2 * sum(word in ACTIONS for word in firsts) >= len(firsts)


def _task(heading: str) -> str:
    """Return what a how-to heading is about as a verb phrase, or nothing."""
    title = _unnumbered(heading).rstrip(".:")
    if title.endswith("?"):
        return ""
    match = HOW_TO.match(title)
    words = (match["task"] if match else title).split()
    verb = words[0].lower() if words else ""
    verb = GERUNDS.get(verb, verb)
    if len(words) < 2 or not (verb in ACTIONS or (match and not verb.endswith("ing"))):
        return ""
    return " ".join([verb, *("my" if word == "your" else word for word in words[1:])])


def _gerund(verb: str) -> str:
    if verb in ("get", "log", "run", "scan", "set", "stop", "submit"):
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"


GERUNDS = {_gerund(verb): verb for verb in ACTIONS}


def _item(chunk: Chunk) -> Iterator[tuple[str, str]]:
    for line in re.split(r"\n(?! {2,}\S)", chunk.text):
        match = ITEM.match(" ".join(line.split()))
        if match and not line.endswith(":"):
            yield _about(match["term"] or match["title"]), match["text"] or match["clause"]


def _table(chunk: Chunk) -> Iterator[tuple[str, str]]:
    rows = [line for line in chunk.text.split("\n") if _is_row(line)]
    for row in rows:
        first, _, rest = row.partition(CELL_SEPARATOR)
        yield _about(first.partition(": ")[2].strip("`")), rest


def _is_row(line: str) -> bool:
    """Return whether a line is what `table_lines` makes of a row below a header."""
    cells = line.split(CELL_SEPARATOR)
    return len(cells) > 1 and all(CELL.match(cell) for cell in cells)


def _heading(chunk: Chunk) -> Iterator[tuple[str, str]]:
    title = _unnumbered(chunk.heading[-1]) if chunk.heading else ""
    if title.endswith(("?", ":", ":-")) or title.lower().strip(".") in EMPTY_HEADINGS:
        return
    cut_off = chunk.parts > 1 and CONTINUES.match(chunk.text)
    if not stems(title) or chunk.parts > MAX_PARTS or cut_off or any(_how_to(chunk)):
        return
    lines = chunk.text.split("\n")
    prose = sum(count_words(x) for x in lines if not _is_row(x) and not x.startswith("    "))
    if 2 * prose >= count_words(chunk.text):
        yield _about(title.rstrip(".")), chunk.text


def _about(topic: str) -> str:
    return f"What does the document say about \u201c{topic}\u201d?"


def _unnumbered(title: str) -> str:
    return NUMBER.sub("", title)


RULES = (
    Rule("heading_question", "a heading that is a question, and its text", _heading_question),
    Rule("faq", "`Q:` and `A:`, or a question as a paragraph of its own", _faq),
    Rule("definition", "a sentence `X is a`, `X means`, `X refers to`", _definition),
    Rule("how_to", "a list of steps below a heading such as `Installing X`", _how_to),
    Rule("item", "a list item `Term: text`", _item),
    Rule("table", "a row of a table whose columns have names", _table),
    Rule("heading", "any other heading that says something, and its text", _heading),
)


def absent(
    chunks: Sequence[Chunk], questions: Sequence[tuple[str, str]], count: int
) -> Iterator[tuple[Chunk, str]]:
    """Yield chunks with a question that they do not answer: one that another document answers.

    A question fits if none of its content words stands in the passage, not even in another form.

    Args:
        chunks: Chunks of all documents; they are taken in the order of hashes of their places.
        questions: (file that answers it, question), those to be taken first in front.
        count: Pairs that are wanted at most; no chunk and no question is taken twice.
    """
    asked = [(file, text, stems(text)) for file, text in questions]
    for chunk in sorted(chunks, key=lambda chunk: digest(f"{chunk.file} {chunk.start}")):
        if count <= 0:
            return
        held = stems(chunk.passage)
        fits = (
            index
            for index, (file, _, words) in enumerate(asked)
            if file != chunk.file and words and not words & held
        )
        index = next(fits, None)
        if index is not None:
            yield chunk, asked.pop(index)[1]
            count -= 1


def stems(text: str) -> set[str]:
    """Return the first five letters of the content words, in lower case."""
    words = re.findall(r"[^\W\d_]{4,}", text.lower())
    return {word[:5] for word in words if word not in STOP}


def digest(text: str) -> bytes:
    """Return a hash to sort by: an order that is the same in every run and follows no pattern."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
