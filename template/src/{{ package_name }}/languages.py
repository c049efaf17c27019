"""Languages of the data: which codes there are, which rules apply, and what to say about it."""

from collections.abc import Iterable, Iterator, Sequence

from .errors import Problem

ENGLISH = "en"  # the language of the rules that name none
WHERE = "scrub.languages"
# ISO 639-1:2002, all two-letter codes.
_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id
ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu
lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu
rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr
ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
CODES = frozenset(_CODES.split())


def applies(rule_languages: Sequence[str], languages: Sequence[str]) -> bool:
    """Return whether a rule is for data in `languages`; one that names no language always is."""
    return not rule_languages or not set(rule_languages).isdisjoint(languages)


def language_problems(languages: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with the setting."""
    unknown = sorted({str(code) for code in languages} - CODES)
    if unknown:
        found = f"no such language: {', '.join(unknown)}"
        yield Problem(WHERE, found, allowed="two-letter codes of ISO 639-1, such as en, de, fr")
    if not languages:
        yield Problem(WHERE, "is empty", allowed="at least one code")


def language_notices(
    languages: Sequence[str], with_rules: Iterable[str], model: str, reads: str | None
) -> Iterator[str]:
    """Yield what a user has to know about languages that are not covered.

    Args:
        languages: Of the data.
        with_rules: Languages that a rule names.
        model: The NLP model, as messages call it.
        reads: Its language; None if there is no model.
    """
    own = {ENGLISH, *with_rules}
    for code in languages:
        if code not in own:
            yield f"{code}: no rules of its own; identifiers are found by general patterns only"
    if reads is None:
        yield "no NLP model: names without a label or a title are not found"
    elif reads not in languages:
        yield f"{model} reads {reads} and is not used: names need a label or a title to be found"
    else:
        for code in languages:
            if code != reads:
                yield f"{code}: {model} reads {reads}; its names need a label or a title"
