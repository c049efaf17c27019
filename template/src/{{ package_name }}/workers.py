"""Blocks of rows, examined and scrubbed in this process or in several.

A process that scrubs reads the rows of its blocks itself and writes them scrubbed, as files (see
shards): unscrubbed text is never written.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .cleaning import chosen_rules, clean_record, suspicious
from .config import Config
from .duplicates import EMPTY, comparable_text, sign
from .errors import Problem, UserError
from .examination import Examiner, Verdict
from .guidance import Languages
from .keys import Keys
from .lengths import OVER_LENGTH, Lengths, pieces_of
from .manifest import image_folder, recognizer_files, scrub_policy
from .overlap import OverlapIndex
from .readers import RawFile, RawRow, RowReader
from .records import Record, canonical
from .shards import Shards
from .spans import NER
from .splits import normalised, split_of, split_rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .scrub import Scrubber

SCRUB = "scrub"
WORKER_GIB = 1.5  # measured 1.1 GiB: language model, tokenizer, libraries
MOST_CHARACTERS = 50_000  # scrubbed at once; memory of the language model grows with it
SHORT_TEXT = 50  # words; a longer answer weighs enough in the comparison of whole texts
ROWS_PER_WORKER = 1000  # below, starting a process costs more than it saves


@dataclass(frozen=True)
class Task:
    """All that a process needs to know; it can be pickled."""

    config: Config
    layout: str | None
    keys: Keys
    canaries: frozenset[str]
    files: tuple[RawFile, ...] = ()
    overlap: OverlapIndex | None = None
    shards: Shards | None = None


class Worker:
    """Works on blocks. What takes seconds to load is loaded when it is first needed."""

    def __init__(self, task: Task) -> None:
        self._task = task
        config = task.config
        self._examiner = Examiner(
            config.data, task.layout, task.keys, task.canaries, image_folder(config)
        )
        self._rules = chosen_rules(config.data.cleaning.model_dump())
        self._split = split_rule(config.data.split.model_dump())
        self._labels: set[str] = set()  # that were looked at
        self._piece = min(config.data.max_characters, MOST_CHARACTERS)

    @cached_property
    def _reader(self) -> RowReader:
        return RowReader(self._task.files)

    @cached_property
    def _scrubber(self) -> "Scrubber":
        return load_scrubber(self._task.config, self._task.keys)

    @cached_property
    def _lengths(self) -> Lengths:
        return Lengths(self._task.config)

    @cached_property
    def _languages(self) -> Languages:
        return Languages()

    def examine(self, rows: Sequence[RawRow]) -> list[Verdict]:
        """Return what each row is by itself."""
        return [self._examiner.examine(row) for row in rows]

    def examine_places(self, first: int, count: int) -> list[Verdict]:
        """Return what each row is by itself; the rows are read here, by their numbers."""
        rows = self._reader.take(range(first, first + count))
        assert len(rows) == count, "the files are hashed before and after"
        return self.examine(rows)

    def scrub(self, number: int, places: Sequence[int]) -> int:
        """Read, clean, scrub, measure and sign the rows of a block, and write it.

        Args:
            number: Of the block.
            places: Numbers of the rows that are to be kept, over all files.

        Returns:
            How many rows there were.
        """
        task = self._task
        assert task.shards is not None
        taken = self._reader.take(places)
        assert len(taken) == len(places), "the files are hashed before and after"
        rows = list(zip(places, taken, strict=True))
        raw = [self._examiner.convert(row) for _, row in rows]
        strata = [
            self._examiner.strata(row, record)
            for (_, row), (record, _) in zip(rows, raw, strict=True)
        ]
        self._check_labels({label for labels in strata for label in labels})
        cleaned = [clean_record(record, self._rules) for record, _ in raw]
        scrubbed = self._scrub([record for record, _ in cleaned])
        entries, texts = [], []
        for (index, row), (record, converted), (mended, rules), (clean, types), labels in zip(
            rows, raw, cleaned, scrubbed, strata, strict=True
        ):
            entry: dict[str, Any] = {"index": index, "file": row.file, "row": row.row}
            if clean is None:
                entry |= {"refused": f"{SCRUB}: {types}", "hash": task.keys.raw(row.raw).hex()}
            else:
                entry |= {"converted": converted, "cleaned": rules, "pii": types}
                entry |= self._finished(row, record, mended, clean)
                entry["strata"] = labels
            entries.append(entry)
            texts.append("" if clean is None else comparable_text(clean))
        signatures = sign(texts)
        for entry, signature in zip(entries, signatures, strict=True):
            signature ^= _mark(entry, signature)
        task.shards.write(number, entries, signatures)
        return len(rows)

    def _check_labels(self, labels: set[str]) -> None:
        """Refuse classes that hold an identifier: they are written as they are.

        A place or a single word that only the language model takes for a name is let pass:
        Delaware may be a class, and so may Baker.

        Raises:
            UserError: names the types that were found.
        """
        new = sorted(labels - self._labels)
        types = set()
        for label, result in zip(new, self._scrubber.scrub_each(new), strict=True):
            if isinstance(result, Exception):
                types.add("one that cannot be scrubbed")
                continue
            whole = len(label.split()) > 1
            types |= {
                span.type
                for span in result.spans
                if span.rule != NER or (whole and span.type == "PERSON")
            }
        if types:
            found = f"labels hold identifiers ({', '.join(sorted(types))})"
            fix = "map the column that holds the class (data.columns, data.stratify_by), or write "
            fix += "the name of the class into domains/custom/allow.txt"
            raise UserError(Problem(self._task.config.data.raw, found, fix=fix))
        self._labels |= labels

    def _scrub(
        self, records: Sequence[Record]
    ) -> Iterator[tuple[Record, Counter[str]] | tuple[None, str]]:
        """Yield each record scrubbed with what was found, or None with why it is not trusted."""
        from .scrub import Scrubbed, ScrubError

        pieces = [[pieces_of(text, self._piece) for text in record.texts()] for record in records]
        flat = [piece for texts in pieces for text in texts for piece in text]
        owners = [
            record.group or self._examiner.key(record).hex()
            for record, texts in zip(records, pieces, strict=True)
            for text in texts
            for _ in text
        ]
        results = iter(self._scrubber.scrub_each(flat, owners))
        for record, texts in zip(records, pieces, strict=True):
            found = [[next(results) for _ in text] for text in texts]
            every = [one for text in found for one in text]
            faults = [one.reason for one in every if isinstance(one, ScrubError)]
            if faults:
                yield None, faults[0]
                continue
            sound = [[one for one in text if isinstance(one, Scrubbed)] for text in found]
            types = Counter(span.type for text in sound for one in text for span in one.spans)
            clean = record.with_texts(tuple("".join(one.text for one in text) for text in sound))
            if record.tokens:
                clean = self._joined_tokens(record, clean, types)
            yield clean, types

    def _joined_tokens(self, record: Record, clean: Record, types: Counter[str]) -> Record:
        """Replace tokens that are parts of an identifier once the blanks are taken out.

        A tokenizer writes 078-05-1120 as five tokens; with blanks between, no rule finds it.
        """
        (found,) = self._scrubber.scrub(["".join(record.tokens)])
        tokens, ends = list(clean.tokens), list(accumulate(map(len, record.tokens)))
        for span in (span for span in found.spans if span.rule != NER):
            inside = range(bisect_right(ends, span.start), bisect_left(ends, span.end) + 1)
            if all(tokens[place] == record.tokens[place] for place in inside):
                types[span.type] += 1
            for place in inside:
                tokens[place] = f"<{span.type}>"
        return replace(clean, tokens=tuple(tokens))

    def _finished(
        self, row: RawRow, record: Record, mended: Record, clean: Record
    ) -> dict[str, Any]:
        """Return the entry of a scrubbed row.

        Args:
            row: As it was read.
            record: As it was converted: keys do not depend on cleaning or scrubbing.
            mended: Cleaned, not yet scrubbed: placeholders would hide evaluation items.
            clean: Scrubbed.
        """
        place = self._examiner.place(record)
        parts, length = self._lengths.fit(clean, f"{row.file} row {row.row}")
        hits = self._task.overlap.find(mended.texts()) if self._task.overlap else []
        return {
            "key": self._examiner.key(record).hex(),
            "split": split_of(place, self._split, record.day),
            "records": [part.to_json() for part in parts],
            "filtered": "" if parts else OVER_LENGTH,
            "length": length,
            "hits": hits,
            "language": self._languages.of(clean),
            "odd": suspicious(clean),
            "claim": claim(clean),
            "text": digest(comparable_text(clean)),
        }


def _mark(entry: dict[str, Any], signature: "NDArray[Any]") -> int:
    """Return what to mix into a signature, so that rows with other claims have nothing in common.

    Rows of one claim get the same, which leaves their similarity as it was. The signature of a
    text without words is left alone: it is known by its values.
    """
    return 0 if (signature == EMPTY).all() else int(entry.get("claim", "0"), 16) & 0xFFFFFFFF


def claim(record: Record) -> str:
    """Return 16 hexadecimal digits for what a record says where a few words decide.

    That is labels, images, short answers, and a short question that stands above a passage: rows
    that share a long passage are alike, and ask or answer something else. None repeats the other.
    """
    turns = (*record.messages, *record.chosen, *record.rejected)
    stated = [turn.content for turn in turns if turn.role == "assistant"]
    stated += [record.reference] if record.reference is not None else []
    for turn in record.messages:
        question, _, passage = turn.content.partition("\n\n")
        stated += [question] if turn.role == "user" and passage else []
    short = [normalised(text) for text in stated if len(text.split()) < SHORT_TEXT]
    return digest(canonical([[*record.labels], short, [*record.image_keys]]))


def digest(text: str) -> str:
    """Return 16 hexadecimal digits that tell scrubbed texts apart."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def load_scrubber(config: Config, keys: Keys) -> "Scrubber":
    """Return the scrubber of a run.

    Raises:
        UserError: a rule, the model, the policy, a language or the vault is not usable.
    """
    from .scrub import Scrubber  # loads the language model's library: seconds
    from .vault import open_vault

    settings = config.scrub
    return Scrubber(
        recognizer_files(config),
        settings.languages,
        scrub_policy(config),
        settings.nlp_model,
        keys.scrubber,
        settings.score_threshold,
        open_vault(settings.vault, config.root) if settings.vault else None,
    )


def scrub_notices(config: Config) -> list[str]:
    """Return what a user has to know about languages and model of the scrubber.

    Raises:
        UserError: a rule file or the model is not usable.
    """
    from .nlp_models import NO_MODEL, find_model
    from .recognizers import load_rules
    from .scrub import notices

    name, rules = config.scrub.nlp_model, load_rules(recognizer_files(config))
    model = None if name == NO_MODEL else find_model(name)
    return list(notices(rules, config.scrub.languages, model))


def worker_count(config: Config, rows: int, cores: int, memory: int) -> tuple[int, str]:
    """Return how many processes scrub, and the reason.

    Args:
        config: `data.workers` decides, unless it is auto.
        rows: How many rows there are to scrub.
        cores: Of the machine, or of the cluster.
        memory: Of both, in bytes.
    """
    wanted = config.data.workers
    if wanted != "auto":
        return wanted, "set in data.workers"
    limits = {
        "cores": cores,
        f"{WORKER_GIB} GiB each": int(memory / 2**30 // WORKER_GIB),
        f"{ROWS_PER_WORKER} rows each": rows // ROWS_PER_WORKER,
    }
    reason = min(limits, key=lambda name: limits[name])
    return max(1, limits[reason]), reason
