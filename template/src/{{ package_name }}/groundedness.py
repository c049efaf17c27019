"""Does an answer rest on the passage it was given? A share, by words, without a model.

    groundedness = supported units / all units

Units are the different content words of the answer (Porter's stem, without the function words
below), its numbers, and its names (capital letters inside a sentence). A word is supported if the
passage or the question holds its stem; a number or a name only if the passage itself holds it. The
note says "number not in the passage", "name not in the passage" or "negation changed", so that one
invented figure in a long answer is seen although it costs little.

Items that the passage does not answer (`expect: not_in_document`, or a gold that says so) are right
or wrong: 1 if the answer says that the document does not say, and brings no number or name that
the passage lacks. For every other item an answer that says so is 0.

Limits: this is support, not truth. A copied sentence that answers another question scores 1; a
correct sum that the passage does not print is an unsupported number; true parts can be joined
into a false whole; synonyms count as unsupported; a one-word "Yes" has no unit and scores 1. Read
it beside token_f1 or a rubric. English only.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .grounding import LIST_NUMBER, names_in, negation_changed, tokens

NOT_IN_DOCUMENT = "not_in_document"  # `expect` of an item that the passage does not answer
NUMBER, NAME, NEGATION = "number not in the passage", "name not in the passage", "negation changed"
_FUNCTION = """
a an the this that these those it its he she they them his her their we you i your our us me my
and or but nor so if then than as of in on at by for to from with without into onto over under
between within during after before until since about against per via upon out up down off
is are was were be been being am has have had having do does did done can could may might must
shall should will would not no yes there here which who whom whose what when where why how
also only both each any all some such same other more most less very just too however therefore
because while whether either neither document passage text according stated states says
"""
FUNCTION_WORDS = frozenset(_FUNCTION.split())
_DOCUMENT = (
    r"(?:document|passage|text|context|source|excerpt|extract|report|filing|notes?|letter|record|"
    r"leaflet|manual|section|page|article|memo|email|minutes)"
)
_SOURCE = rf"(?:{_DOCUMENT}|contract|agreement|clause|lease|policy|guideline|statement|rules?)"
_NOT = r"(?:(?:does|do|did)(?:\s+not|n't))\s+(?:(?:\w+ly|itself|even)\s+)?"
# What only a text can do; "cover", "include" and "provide for" tell what it rules.
_SAY = r"(?:say|state|mention|specify|indicate|disclose|address|tell|explain|discuss|describe)\b"
_NEWS = r"(?:information|mention|details?|indication|reference|statement|such\s+information)\b"
_HOLD = r"(?:give|contain|provide|include|offer|make)"
_SAID = (
    r"(?:stated|mentioned|specified|given|provided|addressed|included|disclosed|covered|found|"
    r"listed|defined|described|discussed|reported|indicated|answered|set\s+out|available|clear)"
)
_HERE = rf"(?:(?:in|by|from)\s+(?:the|this|that)\s+(?:\w+\s+)?{_DOCUMENT}\b|here\b)"
_ENDS = r"\s*(?:[.,;!]|$)"
# "The document does not say.", "This is not stated.", "There is no information on ..."
# "The policy does not cover floods." and "VAT is not included in the price." are facts.
_ABSENT = re.compile(
    rf"\b{_SOURCE}\s+(?:itself\s+)?(?:{_NOT}{_SAY}|is\s+silent\b)"
    rf"|\b(?:it|this)\s+(?:does\s+not|doesn't)\s+(?:\w+ly\s+)?(?:say|state|mention|specify)\b"
    rf"|\b{_DOCUMENT}\s+{_NOT}(?:give|answer|(?:cover|include)\s+(?:this|that|it){_ENDS})"
    rf"|\b{_SOURCE}\s+(?:says?|states?)\s+nothing\b"
    rf"|\bnothing\s+in\s+(?:the|this)\s+{_SOURCE}\b"
    rf"|\b{_SOURCE}\s+{_NOT}{_HOLD}\s+(?:(?:any|this|that|the)\s+)?{_NEWS}"
    rf"|\b{_SOURCE}\s+(?:{_HOLD}s?|has)\s+no\s+{_NEWS}"
    rf"|\b(?:is|are|was|were)(?:\s+not|n't)\s+(?:\w+ly\s+)?(?:{_SAID}\s+)?{_HERE}"
    rf"|\b(?:is|are|was|were)(?:\s+not|n't)\s+(?:\w+ly\s+)?(?:stated|mentioned|specified)\b"
    rf"|\b(?:this|that|such)\s+{_NEWS}\s+(?:is|are|was|were)(?:\s+not|n't)\s+{_SAID}{_ENDS}"
    r"|\bthere\s+is\s+no\s+answer\b"
    rf"|^not\s+{_SAID}(?:\s+{_HERE}|{_ENDS})"
    rf"|^no\s+{_NEWS}(?!\s+(?:may|must|shall|can|will|is|are|for)\b)"
    rf"|\bthere\s+(?:is|are)\s+no\s+{_NEWS}(?!\s+for\b)"
    r"|\b(?:cannot|can't|can\s+not|could\s+not|couldn't)\s+be\s+(?:determined|answered|found)"
    rf"(?:{_ENDS}|\s+(?:from|in|with|based|on)\b)"
    rf"|\b(?:cannot|can't|could\s+not|couldn't)\s+(?:find|tell|determine|answer)\b.{{0,80}}\b{_SOURCE}\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def groundedness(answer: str, passage: str, question: str = "") -> tuple[float, str]:
    """Return the share of supported units (0 to 1) and a note, which may be empty."""
    numbers, names, words = _units(answer)
    lost_numbers, lost_names = numbers - _numbers(passage), names - _words(passage)
    lost_words = words - _stems(passage) - _stems(question)
    lost = len(lost_numbers) + len(lost_names) + len(lost_words)
    total = len(numbers) + len(names) + len(words)
    note = NUMBER if lost_numbers else NAME if lost_names else ""
    if not note and negation_changed(tokens(answer), tokens(passage)):
        note = NEGATION
    return (1.0 if total == 0 else 1 - lost / total), note


def absence(answer: str, passage: str) -> tuple[bool, str]:
    """Return whether an answer says that the passage does not say, and adds nothing of its own.

    The first sentence decides: "The fee is 30 euros. The document does not say when it is due."
    is an answer.
    """
    numbers, names, _ = _units(answer)
    if not says_absent(answer):
        return False, ""
    if numbers - _numbers(passage):
        return False, NUMBER
    return (False, NAME) if names - _words(passage) else (True, "")


def says_absent(text: str) -> bool:
    """Return True if the first sentence of a text says that the document does not say."""
    sentences = [part for part in _SENTENCE.split(text.strip().replace("\u2019", "'")) if part]
    return bool(sentences) and bool(_ABSENT.search(sentences[0]))


def _units(answer: str) -> tuple[set[str], set[str], set[str]]:
    """Return the numbers, the names and the other content words of an answer, each once."""
    text = LIST_NUMBER.sub("", answer)
    names = names_in(text) - FUNCTION_WORDS
    return _numbers(text), names, {_stem(word) for word in _words(text) - names}


def _numbers(text: str) -> set[str]:
    return {str(Decimal(word).normalize()) for word in tokens(text) if _is_number(word)}


def _words(text: str) -> set[str]:
    words = {re.sub(r"'s?$", "", word) for word in tokens(text) if not word[0].isdigit()}
    return words - FUNCTION_WORDS


def _stems(text: str) -> set[str]:
    return {_stem(word) for word in _words(text)}


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", word))


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    stem: str = _stemmer().stem(word)
    return stem


@lru_cache
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer  # comes with rouge-score

    return PorterStemmer()
