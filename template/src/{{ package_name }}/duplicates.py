"""Rows that stand twice: exactly (by key), nearly (by MinHash), or with another answer.

Near-duplicates are texts whose sets of five-word sequences (five characters in scripts
without blanks) agree: size of the intersection / size of the union (Jaccard) at least the
threshold, as estimated from MinHash signatures (Broder 1997) of the scrubbed text. Candidates
come from bands of the signature (locality-sensitive hashing; Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, chapter 3).

A row repeats the first earlier row that is kept and similar to it. What is decided about a
row depends on earlier rows only, so that rows added at the end change nothing.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from .records import Record
from .shingles import BASE, Hashes, grams, hashed, words

Rows = NDArray[np.int32]
Flags = NDArray[np.bool_]

KEY_BYTES = 16
PARTS = 16  # exact duplicates are looked for in one sixteenth of the keys at a time
SHINGLE = 5  # words
PERMUTATIONS, SEED = 128, 1
EMPTY = np.uint32(2**32 - 1)  # every value of a signature of a text without words
# More is never trained on: about 250,000 tokens of English at 4 characters a token.
MAX_CHARACTERS = 1_000_000
CHUNK = 512  # shingles at a time: 1/4 MiB, which fits the cache of a core
BLOCK = 1024  # rows at a time when signatures are read: 3 MiB of temporaries
# A missed pair cannot be mended, a needless candidate is only compared: 1 to 19. At threshold
# 0.8 that gives 16 bands of 8, which find 95 % of the pairs at 0.80 and 99 % at 0.85.
WEIGHTS = (0.05, 0.95)
MAX_BAND_THRESHOLD = 0.95  # above, datasketch would take a single band and refuses to
# Kept rows of one bucket that a row is compared with: keeps texts that all share a passage,
# but little else, from being compared each with each.
MAX_COMPARED = 64


def first_rows(keys: bytes | bytearray) -> Rows:
    """Return for each row the first row with the same key, or the row itself.

    Memory: 8 bytes a row besides the keys where few rows have one key, 48 where all have.

    Args:
        keys: 16 bytes a row, in row order.
    """
    table = np.frombuffer(keys, np.uint64).reshape(-1, KEY_BYTES // 8)
    assert len(table) < 2**31, "rows are numbered in 31 bits"
    result = np.arange(len(table), dtype=np.int32)
    part_of = np.frombuffer(keys, np.uint8)[::KEY_BYTES] % PARTS
    for part in range(PARTS):
        members = np.flatnonzero(part_of == part).astype(np.int32)
        # Stable: rows with one key stay in row order, the first of them in front.
        order = np.lexsort((table[members, 1], table[members, 0])).astype(np.int32)
        members = members[order]
        del order
        new = np.ones(len(members), np.bool_)
        for column in range(table.shape[1]):
            values = table[members, column]
            differs = values[1:] != values[:-1]
            new[1:] = differs if not column else new[1:] | differs
        starts = np.flatnonzero(new)
        result[members] = np.repeat(members[starts], np.diff(starts, append=len(members)))
    return result


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Prompts that stand in several different rows.

    Attributes:
        prompts: How many.
        rows: Different rows that hold one of them.
        examples: The first pairs (first row with the prompt, a later different one).
    """

    prompts: int
    rows: int
    examples: list[tuple[int, int]]


def conflicts(rows: Rows, prompts: Rows, examples: int = 5) -> Conflicts:
    """Count prompts that have different answers.

    Args:
        rows: `first_rows` of the row keys.
        prompts: `first_rows` of the prompt keys; rows with one row key have one prompt key.
        examples: Pairs to return at most.
    """
    numbers = np.arange(len(rows), dtype=np.int32)
    later = np.flatnonzero((rows == numbers) & (prompts != numbers))
    asked = len(np.unique(prompts[later]))
    pairs = [(int(prompts[row]), int(row)) for row in later[:examples]]
    return Conflicts(asked, asked + len(later), pairs)


def comparable_text(record: Record) -> str:
    """Return what near-duplicates are compared by: all texts but the system turn."""
    system = [turn.role == "system" for turn in record.messages]
    texts = record.texts()
    return "\n".join(text for i, text in enumerate(texts) if i >= len(system) or not system[i])


def shingles(text: str) -> Hashes:
    """Return the hashes of the five-word sequences of a text, of 32 bits each.

    A shorter text is one sequence as a whole; a text without words has none.
    """
    codes = hashed(words(text[:MAX_CHARACTERS]))
    length = min(SHINGLE, len(codes))
    return next((found for _, found in grams(codes, [length])), codes) >> np.uint64(32)


def sign(texts: Sequence[str]) -> NDArray[np.uint32]:
    """Return the MinHash signatures of scrubbed texts, shape (len(texts), 128).

    The time grows with the length of a text up to MAX_CHARACTERS, of which only the beginning
    is read; the memory does not grow.
    """
    from datasketch import MinHash

    # The hashes are ready: the library's own hash function would take most of the time.
    minhash = MinHash(PERMUTATIONS, SEED, hashfunc=int)
    result = np.empty((len(texts), PERMUTATIONS), np.uint32)
    for number, text in enumerate(texts):
        minhash.clear()
        found = shingles(text)
        for start in range(0, len(found), CHUNK):
            minhash.update_batch(found[start : start + CHUNK].tolist())
        result[number] = minhash.hashvalues
    return result


@cache
def bands_of(threshold: float) -> tuple[int, int]:
    """Return (number of bands, values in each) that fit a threshold, as datasketch finds them."""
    from datasketch import MinHashLSH

    assert 0 < threshold <= 1, "a share"
    lsh = MinHashLSH(min(threshold, MAX_BAND_THRESHOLD), PERMUTATIONS, WEIGHTS)
    return lsh.b, lsh.r


def similarity(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> float:
    """Return the Jaccard similarity of two texts as estimated from their signatures."""
    return float(np.mean(left == right))


def near_duplicates(files: Sequence[Path], threshold: float, keep: Flags | None = None) -> Rows:
    """Return for each row the first row that it nearly repeats, or the row itself.

    A text without words repeats nothing. tests/benchmarks/near_duplicates.py of the template
    measures time and memory; besides, 640 bytes a row of disk are used beside the first file.

    Args:
        files: Signatures that `sign` made, saved as .npy; rows count on from file to file.
        threshold: Estimated Jaccard similarity from which a row is a repetition.
        keep: Rows to look at; the others repeat nothing and are no reason. None: all.

    Returns:
        Shape (n,). A row that others repeat repeats none itself.
    """
    total = sum(len(_opened(path)) for path in files)
    result = np.arange(total, dtype=np.int32)
    if not total:
        return result
    with TemporaryDirectory(dir=files[0].parent, prefix=".bands-") as name:
        rows, same = _spread(files, keep, threshold, Path(name))
        if len(rows):
            distinct = np.flatnonzero(same == np.arange(len(same))).astype(np.int32)
            buckets, room = _buckets(Path(name), threshold, distinct)
            first = _walk(Path(name), threshold, distinct, buckets, room)
            rank = np.zeros(len(rows), np.int32)
            rank[distinct] = np.arange(len(distinct))
            result[rows] = rows[distinct[first[rank[same]]]]
    return result


def _opened(path: Path) -> NDArray[np.uint32]:
    signatures: NDArray[np.uint32] = np.load(path, mmap_mode="r")
    assert signatures.shape[1:] == (PERMUTATIONS,), "a file that holds signatures"
    return signatures


def _spread(
    files: Sequence[Path], keep: Flags | None, threshold: float, folder: Path
) -> tuple[Rows, Rows]:
    """Write the rows to look at: signatures in one file, hashes of each band in one file.

    Returns:
        Numbers of these rows, and for each the place (in this list) of the first row with
        the very same signature.
    """
    bands, width = bands_of(threshold)
    taken: list[Rows] = []
    keys = bytearray()
    start = 0
    with ExitStack() as stack:
        out = stack.enter_context(_signature_file(folder).open("wb"))
        handles = [stack.enter_context(_band_file(folder, i).open("wb")) for i in range(bands)]
        for path in files:
            signatures = _opened(path)
            for offset in range(0, len(signatures), BLOCK):
                block = np.array(signatures[offset : offset + BLOCK])
                alive = (block != EMPTY).any(axis=1)
                if keep is not None:
                    alive &= keep[start : start + len(block)]
                block = block[alive]
                taken.append((np.flatnonzero(alive) + start).astype(np.int32))
                start += len(alive)
                out.write(block.tobytes())
                for row in block:
                    keys += blake2b(row.tobytes(), digest_size=KEY_BYTES).digest()
                parts = block[:, : bands * width].reshape(-1, bands, width).astype(np.uint64)
                rolled = np.zeros(parts.shape[:2], np.uint64)
                for column in range(width):
                    rolled = rolled * BASE + parts[:, :, column]
                for handle, hashes in zip(handles, rolled.T, strict=True):
                    handle.write(hashes.tobytes())
    return np.concatenate(taken), first_rows(keys)


def _signature_file(folder: Path) -> Path:
    return folder / "signatures"


def _band_file(folder: Path, band: int) -> Path:
    return folder / f"band-{band}"


def _buckets(folder: Path, threshold: float, distinct: Rows) -> tuple[Rows, Rows]:
    """Find the rows that agree in a whole band, one band at a time.

    Returns:
        Bucket of each row in each band, shape (rows, bands), -1 where a row is alone; and the
        room of each bucket: how many rows it has, MAX_COMPARED at most.
    """
    bands, _ = bands_of(threshold)
    buckets = np.full((len(distinct), bands), -1, np.int32)
    rooms: list[Rows] = []
    count = 0
    for band in range(bands):
        hashes = np.fromfile(_band_file(folder, band), np.uint64)[distinct]
        order = np.argsort(hashes)
        hashes = hashes[order]
        starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        sizes = np.diff(starts, append=len(hashes))
        shared = sizes > 1
        numbers = np.where(shared, np.cumsum(shared) - 1 + count, -1)
        buckets[order, band] = np.repeat(numbers, sizes)
        rooms.append(np.minimum(sizes[shared], MAX_COMPARED).astype(np.int32))
        count += len(rooms[-1])
    return buckets, np.concatenate(rooms)


def _walk(folder: Path, threshold: float, distinct: Rows, buckets: Rows, room: Rows) -> Rows:
    """Take the rows in order; each is compared with the kept rows of its buckets."""
    signatures = np.memmap(_signature_file(folder), np.uint32, "r").reshape(-1, PERMUTATIONS)
    # Not a rounding error below: 0.8 * 128 is 102.4, so 103 values have to agree.
    needed = math.ceil(threshold * PERMUTATIONS - 1e-9)
    first = np.arange(len(distinct), dtype=np.int32)
    starts = np.cumsum(room, dtype=np.int64) - room
    kept = np.empty(int(room.sum()), np.int32)
    filled = np.zeros(len(room), np.int16)
    for row in np.flatnonzero(buckets.max(axis=1) >= 0):
        own = buckets[row][buckets[row] >= 0]
        used = [kept[starts[b] : starts[b] + filled[b]] for b in own if filled[b]]
        if used:
            earlier = np.unique(np.concatenate(used))
            agreeing = signatures[distinct[earlier]] == signatures[distinct[row]]
            similar = np.flatnonzero(agreeing.sum(axis=1) >= needed)
            if len(similar):
                first[row] = earlier[similar[0]]
                continue
        own = own[filled[own] < room[own]]
        kept[starts[own] + filled[own]] = row
        filled[own] += 1
    return first
