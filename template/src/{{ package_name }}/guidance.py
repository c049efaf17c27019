"""Is there enough data, and is it varied? Answers for the report; nothing is refused here."""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any

from .records import Record

SOURCE = "a rule of thumb: docs/data.md"
AUTO, GENERAL = "auto", "general"
FEW_ROWS, FEW_SHARE = 10, 0.01
SAMPLE_ROWS = 5_000
SAMPLE_WORDS = 64  # words of one sampled row that are looked at
TYPE_TOKEN_WORDS = 10_000
OPENING_WORDS = 4
BUCKETS = 1 << 16
WORD = re.compile(r"[^\W\d_]+")
# Written without blanks between words: two characters stand for a word.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{2,}")
PLACEHOLDER = re.compile(r"<[A-Z][A-Z_0-9]*>")
UNKNOWN = "unknown"
LANGUAGE_CHARACTERS = 400  # read of each row
LANGUAGE_LETTERS = 20  # fewer say nothing; a letter of Chinese, Japanese or Korean is three
LANGUAGE_CONFIDENCE = 0.5


@dataclass(frozen=True, slots=True)
class Guidance:
    """How many training examples one kind of task needs.

    Attributes:
        task: value of the setting `data.task`, or `general`.
        minimum: examples below which a run is not worth its time.
        recommended: from, to; None: no upper end.
        title: name for people.
    """

    task: str
    minimum: int
    recommended: tuple[int, int | None]
    title: str


# In examples. Rules of thumb: common advice for general use is 50 to 100 at least; 50 counts here.
ROWS = (
    Guidance(GENERAL, 50, (100, 1000), "fine-tuning in general"),
    Guidance("classification", 50, (200, 500), "classification"),
    Guidance("generation", 100, (500, 1000), "generation"),
    Guidance("reasoning", 200, (1000, None), "reasoning"),
    Guidance("style", 100, (500, None), "style"),
    Guidance("domain_adaptation", 500, (2000, None), "domain adaptation"),
)
GUIDANCE: dict[str, Guidance] = {row.task: row for row in ROWS}
# What an objective says about the task; where it says nothing, the kind of record does.
OBJECTIVE_TASKS = {
    "classify": "classification",
    "multilabel": "classification",
    "token_classify": "classification",
    "seq2seq": "generation",
    "grpo": "reasoning",
    "rloo": "reasoning",
    "dpo": "style",
    "orpo": "style",
    "kto": "style",
    "reward": "style",
    "pretrain": "domain_adaptation",
    "mlm": "domain_adaptation",
}
KIND_TASKS = {
    "labelled": "classification",
    "prompt": "reasoning",
    "preference": "style",
    "unpaired": "style",
    "text": "domain_adaptation",
    "image_text": "generation",
}


def task_of(setting: str, kind: str, objective: str) -> tuple[str, str]:
    """Return the task that the data is judged by, and the reason.

    Args:
        setting: `data.task`.
        kind: kind of the records.
        objective: setting `objective`.
    """
    if setting != AUTO:
        return setting, "set in data.task"
    if objective in OBJECTIVE_TASKS:
        return OBJECTIVE_TASKS[objective], f"objective {objective}"
    if kind in KIND_TASKS:
        return KIND_TASKS[kind], f"{kind} records"
    return GENERAL, f"{kind} records fit many tasks; data.task names yours"


def judge(task: str, rows: int) -> dict[str, Any]:
    """Return the report's entry `guidance`.

    Args:
        task: row of GUIDANCE.
        rows: different training examples, before any is repeated.
    """
    row = GUIDANCE[task]
    low, high = row.recommended
    wanted = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"
    if rows < row.minimum:
        verdict, says = "too few", f"at least {row.minimum:,} are needed, {wanted} recommended"
    elif rows < low:
        verdict, says = "few", f"above the least of {row.minimum:,}, but {wanted} are recommended"
    else:
        verdict, says = "enough", f"{wanted} are recommended"
    return {
        "task": task,
        "rows": rows,
        "minimum": row.minimum,
        "recommended": [low, high],
        "verdict": verdict,
        "text": f"{rows:,} training examples for {row.title}: {verdict}; {says} ({SOURCE}).",
    }


def rare_labels(counts: Mapping[str, int]) -> list[str]:
    """Return the labels with under FEW_ROWS rows or under FEW_SHARE of all, rarest first."""
    least = max(FEW_ROWS, FEW_SHARE * sum(counts.values()))
    return sorted((name for name, n in counts.items() if n < least), key=lambda name: counts[name])


class Diversity:
    """Measures how varied a corpus is from a random sample of SAMPLE_ROWS of its rows.

    Holds hashes and lengths only, at most 4 MB. No word of the data is shown or kept.
    """

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._rows = 0
        # Number of each sampled row -> hash of its opening, its words' hashes, its lengths.
        self._sample: list[tuple[int, Sequence[int], int, int]] = []

    def add(self, record: Record) -> None:
        """Take the next row (scrubbed); most rows of a large corpus cost next to nothing."""
        self._rows += 1
        if len(self._sample) < SAMPLE_ROWS:
            self._sample.append(_features(record))
            return
        # Every row so far is in the sample with equal probability (Vitter 1985, algorithm R).
        place = self._random.randrange(self._rows)
        if place < SAMPLE_ROWS:
            self._sample[place] = _features(record)

    def result(self) -> dict[str, Any]:
        """Return the report's entry `diversity`.

        - `sampled`: rows that were looked at.
        - `openings`: share of different prompts among them, by their first four words.
        - `type_token_ratio`: different words among `tokens` words from as many rows as that
          takes (comparable between corpora where `tokens` is the same).
        - `topics`: number of equally large topics without a common word that would make two
          random rows as alike as they are (Leinster and Cobbold 2012, order 2; cosine of
          words weighted by rarity), at most `sampled`.
        - `prompt_characters`, `answer_characters`: 5th, 50th and 95th percentile.
        """
        if not self._sample:
            return {"sampled": 0}
        openings = {row[0] for row in self._sample}
        stream = (word for row in self._sample for word in row[1])
        words = [*islice(stream, TYPE_TOKEN_WORDS)]
        return {
            "sampled": len(self._sample),
            "openings": round(len(openings) / len(self._sample), 3),
            "type_token_ratio": round(len(set(words)) / len(words), 3) if words else None,
            "tokens": len(words),
            "topics": _topics([row[1] for row in self._sample]),
            "prompt_characters": _spread([row[2] for row in self._sample]),
            "answer_characters": _spread([row[3] for row in self._sample if row[3]]),
        }


def _features(record: Record) -> tuple[int, Sequence[int], int, int]:
    from array import array

    prompt = " ".join(record.prompt())
    answer = sum(map(len, record.texts())) - sum(map(len, record.prompt()))
    opening = " ".join(prompt.casefold().split()[:OPENING_WORDS])
    text = " ".join((prompt, *record.texts()[-1:]))[: SAMPLE_WORDS * 20]
    words = islice(_words(text.casefold()), SAMPLE_WORDS)
    return _hash(opening), array("Q", map(_hash, words)), len(prompt), answer


def _words(text: str) -> list[str]:
    found = []
    for word in WORD.findall(PLACEHOLDER.sub(" ", text)):
        if UNSPACED.search(word):
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            found.append(word)
    return found


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def _topics(rows: Sequence[Sequence[int]]) -> float | None:
    """Return 1 / mean cosine over all pairs of rows, which is 1 / |mean unit vector| ** 2."""
    import numpy as np

    seen = Counter(word for row in rows for word in set(row))
    total, used = np.zeros(BUCKETS), 0
    for row in rows:
        if not row:
            continue
        vector = {}
        for word in set(row):
            # Words of every row keep a little weight, so that equal rows count as alike.
            vector[word] = math.log((len(rows) + 1) / seen[word])
        length = math.sqrt(sum(weight * weight for weight in vector.values()))
        for word, weight in vector.items():
            # A sign from the hash: words that share a bucket cancel out on average.
            sign = 1 if word >> 63 else -1
            total[word % BUCKETS] += sign * weight / length
        used += 1
    return round(float(used * used / (total @ total)), 1) if used else None


def _spread(values: Sequence[int]) -> dict[str, int] | None:
    import numpy as np

    if not values:
        return None
    cuts = np.percentile(values, (5, 50, 95)).round().astype(int).tolist()
    return dict(zip(("p5", "p50", "p95"), cuts, strict=True))


class Languages:
    """Tells the languages of records; the model is loaded once (about a second)."""

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        # Without the rarer ones of three letters, for which it takes short English texts.
        codes = [code for code in self._identifier.labels if len(code) == 2]
        self._identifier.set_languages(codes)

    def of(self, record: Record) -> str:
        """Return the language of the longest text as a two-letter code, or UNKNOWN."""
        text = max(record.texts(), key=len, default="")
        text = PLACEHOLDER.sub(" ", text[: 2 * LANGUAGE_CHARACTERS])[:LANGUAGE_CHARACTERS]
        letters = sum(1 if c < "\u2e80" else 3 for c in text if c.isalpha())
        if letters < LANGUAGE_LETTERS:
            return UNKNOWN
        language, confidence = self._identifier.classify(text)
        return str(language) if confidence >= LANGUAGE_CONFIDENCE else UNKNOWN
