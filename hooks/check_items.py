"""What the schema cannot say about evaluation items: that they are right, fair and nobody's."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import formulas

LONGEST_SHARE = 0.35  # of the items whose right answer is longer than every other choice
LABEL_SHARE = 0.5  # of one label in a set of fixed labels
SMALL_SET = 8  # items; shares of a smaller set say nothing
HAND_WRITTEN = 120  # items of one pack; the rest comes from generators
CHI_SQUARE_5 = {1: 3.84, 2: 5.99, 3: 7.81, 4: 9.49, 5: 11.07}  # critical values, by freedom
# Numbers that an item need not state: of units, of time, of percent and basis points.
FREE = {0, 1, 2, 7, 10, 12, 24, 60, 100, 1000, 10_000, 1_000_000}
OWN_TEXT = "own writing"  # a text for perplexity, which states no fact
UNCHECKED = ("general knowledge, unchecked", "own invention", OWN_TEXT)
UNDECIDED = {"not stated", "maybe"}  # labels of nli that no words of the context decide
FACTUAL = {"multiple_choice", "open", "safety", "benign", "red_team"}
# Names that a reader would take for real; the list cannot be complete, the second reader looks too.
KNOWN = re.compile(
    r"\b(Pfizer|Novartis|Roche|Bayer|Merck|Sanofi|AstraZeneca|GSK|Moderna|BioNTech|Tylenol|Advil|"
    r"Ozempic|Viagra|Prozac|Apple Inc|Google|Alphabet|Amazon|Microsoft|Meta Platforms|Facebook|"
    r"Tesla|Nvidia|OpenAI|IBM|Intel|Samsung|Sony|Toyota|Volkswagen|BMW|Siemens|Nestl[eé]|Unilever|"
    r"Walmart|Disney|Netflix|Boeing|Airbus|Enron|Lehman|Goldman|JPMorgan|Citigroup|Barclays|HSBC|"
    r"UBS|Deutsche Bank|BlackRock|Vanguard|Berkshire|Buffett|Madoff|Trump|Biden|Obama|Clinton|"
    r"Putin|Merkel|Macron|Musk|Bezos|Gates|Zuckerberg|Powell|Lagarde|Yellen|Mayo Clinic|Johns "
    r"Hopkins|Cleveland Clinic|Westlaw|LexisNexis|Kirkland|Skadden|Latham)\b"
)
REACHABLE = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|https?://\S+|\b\d{3}-\d{2}-\d{4}\b")
RESERVED = re.compile(r"[@/.]example(?:\.(?:com|org|net))?\b")  # RFC 2606
PHONE = re.compile(r"(?<![\d-])(?:\+?1[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)")
Item = dict[str, Any]


def _rubric_module() -> Any:
    """The module that scores rubrics in a project, so that lint and score cannot differ."""
    folder = Path(__file__).resolve().parent.parent / "template" / "src" / "{{ package_name }}"
    spec = importlib.util.spec_from_file_location("rubric", folder / "rubric.py")
    assert spec and spec.loader, "the template holds rubric.py"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rubric = _rubric_module()


def check_content(item: Item) -> Iterator[str]:
    """Yield what is wrong with one item that fits the schema."""
    if item.get("choices") and item["answer"] not in item["choices"]:
        yield "the answer is not one of the choices"
    if item.get("formula"):
        yield from check_formula(item)
    if item["type"] == "extraction":
        yield from check_extraction(item)
    if item.get("evidence") and item["evidence"] not in item["context"]:
        yield "evidence: not a verbatim part of the context"
    if item.get("rubric"):
        yield from check_rubric(item)
    yield from check_nobody(item)


def check_formula(item: Item) -> Iterator[str]:
    """Yield an answer that the formula does not give, and numbers that the item does not state."""
    inputs = formulas.by_name(item.get("inputs"))
    try:
        right = formulas.answer_of(item["formula"], inputs, item["answer"])
        unused = inputs.keys() - formulas.names(item["formula"])
        constants = {float(value) for value in formulas.literals(item["formula"])}
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        yield f"formula: {error}"
        return
    if right != item["answer"]:
        yield f"the answer is {item['answer']}; the formula gives {right}"
    if unused:
        yield f"inputs: the formula does not use {', '.join(sorted(unused))}"
    said, days = stated(text_of(item))
    dates = {value for value in inputs.values() if formulas.ISO_DATE.fullmatch(value)}
    numbers = {abs(float(value)) for value in inputs.values() if value not in dates}
    lacking = sorted(numbers - said) + sorted(abs(c) for c in constants - FREE - said)
    if lacking:
        yield f"the item does not state {', '.join(f'{value:g}' for value in lacking)}"
    if dates - days:
        yield f"the item does not state {', '.join(sorted(dates - days))}"


def stated(text: str) -> tuple[set[float], set[str]]:
    """Return the numbers of a text without their signs, and its dates (3 May 2027) in ISO form."""
    joined = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    numbers = {float(match) for match in re.findall(r"\d+(?:\.\d+)?", joined)}
    months = {date(2000, month, 1).strftime("%B"): month for month in range(1, 13)}
    found = re.findall(rf"\b(\d{{1,2}}) ({'|'.join(months)}) (\d{{4}})\b", text)
    days = {f"{year}-{months[month]:02d}-{int(day):02d}" for day, month, year in found}
    return numbers, days | set(formulas.ISO_DATE.findall(text))


def check_extraction(item: Item) -> Iterator[str]:
    """Yield an object that is no JSON, keys that nobody asked for, values that nobody wrote."""
    try:
        gold = json.loads(item["answer"])
    except ValueError:
        yield "the answer is not JSON"
        return
    if item["answer"] != json.dumps(gold, ensure_ascii=False):
        yield "the answer is not written as json.dumps writes it"
    text = text_of(item)
    folded, (numbers, days) = text.casefold(), stated(text)
    asked = set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", item["question"]))
    for key in sorted(asked - set(re.findall(r'"(\w+)":', item["answer"]))):
        yield f"the question asks for {key}; the answer has no such key"
    for path, key, value in leaves(gold):
        if not re.search(rf"\b{re.escape(key)}\b", item["question"]):
            yield f"the question does not name the key {key}"
        if isinstance(value, str) and value not in days and value.casefold() not in folded:
            yield f"{path}: the item does not hold this text"
        if isinstance(value, float) and abs(value) not in numbers:
            yield f"{path}: the item does not state {value:g}"


def leaves(value: Any, path: str = "answer", key: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield (path, last key, value) of every value in a JSON object; numbers as floats."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}", name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]", key)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield path, key, float(value) if number else value


def check_rubric(item: Item) -> Iterator[str]:
    """Yield criteria that the reply of the item itself does not earn, or earns by a mistake."""
    met = rubric.met(item["answer"], item["rubric"])
    for row in item["rubric"]:
        if row["points"] > 0 and row not in met:
            yield f"rubric: the answer does not earn: {row['text']}"
        if row["points"] < 0 and row in met:
            yield f"rubric: the answer itself is punished for: {row['text']}"
    if not any(row["points"] > 0 for row in item["rubric"]):
        yield "rubric: no criterion has positive points"
    if rubric.rubric_score(item["question"], item["rubric"]) > LABEL_SHARE:
        yield "rubric: repeating the question earns more than half of the points"
    for row in item["rubric"]:
        for phrase in [*row.get("must_not", []), *chain(*row.get("must_mention", []))]:
            if not can_match(phrase):
                yield f"rubric: no answer can match {phrase!r}; * stands at the end of a word"


def can_match(phrase: str) -> bool:
    """Return True if a phrase of a rubric is found in an answer that says it as written."""
    said = re.sub(r"(?<!\S)\*(?!\S)", "", phrase)  # the sign of 7 * 2 is no ending
    said = re.sub(r"(?<=\d)\*", "0", said).replace("*", "x")  # a number goes on with a digit
    sides: list[Item] = [
        {"points": -1, "must_not": [phrase]},
        {"points": 1, "must_mention": [[phrase]]},
    ]
    return bool(rubric.met(said, sides) == sides)


def check_nobody(item: Item) -> Iterator[str]:
    """Yield names and contacts that could be somebody's."""
    text = f"{text_of(item)} {item['answer']}"
    for found in sorted(set(KNOWN.findall(text))):
        yield f"names {found}, which exists; invent a name"
    for match in REACHABLE.findall(text):
        if not RESERVED.search(match):
            yield "holds an address or number that could be real; use example.com or another one"
    for match in PHONE.findall(text):
        if not re.search(r"555[-. ]01\d\d$", match):
            yield "holds a telephone number outside 555-0100 to 555-0199, which nobody has"


def check_hand_written(item: Item) -> Iterator[str]:
    """Yield what a hand-written item must say beyond the schema."""
    about = item["provenance"]
    if about["method"] != "hand-written" or about["source"] == OWN_TEXT:
        return
    if not about["source_checked"] and about["source"] not in UNCHECKED:
        yield f"source: an unchecked one is called {' or '.join(UNCHECKED)}"
    if item["type"] in FACTUAL and not about.get("fact"):
        yield "provenance.fact: missing; say in one sentence why the answer is right"
    if item["type"] == "nli" and bool(item.get("evidence")) == (item["answer"] in UNDECIDED):
        yield "evidence: the words that decide; none for not stated and maybe"
    if item["type"] == "open" and not item.get("rubric"):
        yield "rubric: missing"


def check_pairs(items: Iterable[Item]) -> Iterator[str]:
    """Yield pairs that do not match: a safety item with benign ones, two items of a bias pair."""
    by_pair: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.get("pair"):
            by_pair[item["pair"]].append(item)
    for name, members in by_pair.items():
        types = sorted(item["type"] for item in members)
        if types == ["bias", "bias"]:
            yield from (f"pair {name}: {fault}" for fault in _bias_faults(*members))
        elif set(types) != {"safety", "benign"}:
            yield f"pair {name}: holds {', '.join(types)}; two bias items, or safety and benign"


def _bias_faults(one: Item, two: Item) -> Iterator[str]:
    for key in ("answer", "choices", "attribute", "task"):
        if one[key] != two[key]:
            yield f"{key} differs"
    if one["tags"]["population"] == two["tags"]["population"]:
        yield "tags.population is the same twice"
    words = [re.findall(r"\w+", text_of(item)) for item in (one, two)]
    apart = sum((Counter(words[0]) - Counter(words[1])).values())
    if apart > 0.15 * len(words[0]):  # he/she and his/her change with the attribute
        yield f"{apart} of {len(words[0])} words differ; vary the attribute only"


def check_balance(items: list[Item]) -> Iterator[str]:
    """Yield ways to score on a set without reading the question."""
    stems = Counter(map(stem, items))
    doubled = [item["id"] for item in items if stems[stem(item)] > 1]
    if doubled:
        yield f"the same question twice: {', '.join(doubled)}"
    options = [item for item in items if item["type"] == "multiple_choice"]
    options = [item for item in options if item["answer"] in item["choices"]]
    if len(options) >= SMALL_SET:
        longest = [i for i in options if all(len(x) < len(i["answer"]) for x in others(i))]
        if len(longest) > LONGEST_SHARE * len(options):
            names = ", ".join(i["id"] for i in longest)
            yield f"the right answer is the longest option in {len(longest)} items: {names}"
    by_size: dict[int, list[int]] = defaultdict(list)
    for item in options:
        by_size[len(item["choices"])].append(item["choices"].index(item["answer"]))
    for size, positions in by_size.items():
        counts = [positions.count(place) for place in range(size)]
        expected = len(positions) / size
        chi_square = sum((count - expected) ** 2 / expected for count in counts)
        if len(positions) >= SMALL_SET and chi_square > CHI_SQUARE_5.get(size - 1, 16.9):
            yield f"the right answers stand at uneven positions: {counts} (first to last option)"
    fixed = [item for item in items if item["type"] != "multiple_choice"]
    labels = Counter(item["answer"] for item in fixed if item.get("choices"))
    if labels.total() >= SMALL_SET and max(labels.values()) > LABEL_SHARE * labels.total():
        yield f"one label has more than half of the items: {dict(labels)}"


def stem(item: Item) -> tuple[str, str]:
    """What must not occur twice in a set."""
    return (item.get("context") or "").casefold(), item["question"].casefold()


def text_of(item: Item) -> str:
    """Context, question and choices."""
    return "\n".join([item.get("context") or "", item["question"], *(item.get("choices") or [])])


def others(item: Item) -> list[str]:
    """The wrong choices of an item."""
    return [choice for choice in item["choices"] if choice != item["answer"]]
