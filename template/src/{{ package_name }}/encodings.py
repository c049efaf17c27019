"""Bytes of a file -> text: decompression as a stream, and the encoding with its reason.

Text is never written to a temporary file, and never held as a whole: a compressed file that
unpacks to terabytes is read block by block.
"""

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from .errors import Problem, UserError

BLOCK = 1 << 20  # bytes read at once
UNPACKED = 1 << 17  # bytes unpacked at once
# Bytes of a row. Longer than any document of text that we know of; a row beyond it is a
# problem of that row where the next one can be found, otherwise of the file.
ROW_LIMIT = 64 << 20
TOO_LONG = f"row: over {ROW_LIMIT >> 20} MiB"
NUL_FOUND = "text: NUL character"
STREAM_ERRORS = (OSError, EOFError, zlib.error)

BOMS = (  # the longer ones first: UTF-32 LE starts like UTF-16 LE
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32 little endian"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32 big endian"),
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16 little endian"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16 big endian"),
)
UTF8 = ("utf-8", "utf-8-sig")
FIX = "set data.encoding to its name, or convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"

# UTF-16 without a mark: every second byte of Latin text is zero, none of the others.
ZEROS = 0.4  # least share of zeros on one side; in Chinese text, blanks and digits have them
STRAY_ZEROS = 0.01  # most zeros on the other side: letters U+0100, U+0200 ... are rare
SAMPLE = 256 << 10  # bytes of lines with foreign bytes that decide between old encodings
FEW = 0.05  # what a rule about Western text may miss
HIGH_RUN = re.compile(rb"[\x80-\xff]+")
IN_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff](?=[A-Za-z])")
C1 = re.compile(rb"[\x80-\x9f]")
# What stands between two letters of a Western word: letters, and the signs that join words.
WESTERN = frozenset(
    byte
    for byte in range(0x80, 0x100)
    for char in [bytes([byte]).decode("cp1252", "replace")]
    if char.isalpha() or char in "\u2018\u2019\u2013\u2014\u00a0\u00ad\u00b7"
)
# What charset-normalizer may answer: restricted, because among all encodings of Python it calls
# Windows Greek text Mac Greek.
SINGLE = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8_r"]
DOUBLE = ["cp932", "gb18030", "big5", "cp949", "euc_jp"]
# Limits on its own scales (0 to 1). On sentences in twelve languages, right answers had chaos
# 0.00 and, in single-byte encodings, coherence from 0.41 on; double-byte ones have little
# coherence, but wrong bytes seldom form valid pairs over a whole file.
MOST_CHAOS, LEAST_COHERENCE = 0.02, 0.4
LEAST_PAIRS = 32  # bytes above 0x7f; fewer may form valid pairs by chance
# Written with the bytes of Western letters in cp1250, cp1254 or cp1257.
_EASTERN = (
    "Croatian Czech Estonian Hungarian Latvian Lithuanian Polish Romanian Slovene Slovak Turkish"
)
NOT_WESTERN = frozenset(_EASTERN.split())


def unusable(name: str, found: str, allowed: str = "", fix: str = "") -> UserError:
    """Return the error that refuses a file as a whole."""
    return UserError(Problem(name, found, allowed, fix))


def unreadable(name: str, error: Exception, place: str) -> UserError:
    """Return the error for a file that cannot be opened or breaks off; never its own message."""
    if isinstance(error, FileNotFoundError):
        return unusable(name, "the file is not there", fix="was it moved while it was read?")
    if isinstance(error, OSError) and error.errno and not isinstance(error, gzip.BadGzipFile):
        found = f"the file cannot be read ({os.strerror(error.errno)}, {place})"
        return unusable(name, found, fix="check its permissions and its disk")
    if isinstance(error, UnicodeDecodeError):
        return unusable(name, f"the file changed while it was read ({place})", fix="try again")
    found = f"the compressed data is cut off or damaged ({place})"
    return unusable(name, found, fix="copy or compress the file again")


def _gzip(path: Path) -> IO[bytes]:
    return io.BufferedReader(gzip.open(path, "rb"), UNPACKED)  # type: ignore[arg-type]


def _zstd(path: Path) -> IO[bytes]:
    import pyarrow

    raw = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
    return io.BufferedReader(raw, UNPACKED)


COMPRESSIONS: dict[str, Callable[[Path], IO[bytes]]] = {".gz": _gzip, ".zst": _zstd}


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file; what its name says is compressed is unpacked as it is read."""
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def open_text(path: Path, encoding: str, newline: str | None, errors: str = "strict") -> IO[str]:
    """Open a file, compressed or not, as text; the arguments are those of the function open."""
    return io.TextIOWrapper(open_bytes(path), encoding, errors, newline)


def wide_encoding(path: Path, name: str) -> tuple[str, str] | None:
    """Return (encoding, reason) where the first bytes tell it: a mark, or the zeros of UTF-16."""
    head = next(_blocks(path, name), b"")[: 1 << 16]
    for mark, encoding, title in BOMS:
        if head.startswith(mark):
            return encoding, f"byte order mark of {title}"
    for encoding, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros, stray = head[first::2].count(0), head[1 - first :: 2].count(0)
        half = len(head) / 2
        if zeros and zeros >= ZEROS * half and stray <= STRAY_ZEROS * half:
            return encoding, "no mark, but every second byte is zero as in UTF-16"
    return None


def detect(path: Path, name: str, wanted: str, by_line: bool) -> tuple[str, str]:
    """Return the encoding of a text file, as Python calls it, and the reason.

    In this order: a byte order mark; the zeros of UTF-16; UTF-8 if all or most lines are valid;
    cp1252 or latin-1 if the other bytes stand as in Western words (cp1252 if a byte 0x80-0x9f
    occurs, which is a control character in latin-1), unless charset-normalizer is sure of a
    language that has these letters elsewhere; otherwise what charset-normalizer is sure of.

    Args:
        path: The file.
        name: How messages call it.
        wanted: "auto", or the encoding that the user named.
        by_line: Lines that are not UTF-8 are problems of their rows, as in jsonl.

    Raises:
        UserError: no encoding fits, or the wanted one does not; names the first bad byte.
    """
    marked = wide_encoding(path, name)
    if wanted != "auto":
        return _given(path, name, wanted, marked, by_line)
    if marked:
        return _whole(path, name, *marked)
    bad = _first_bad(path, name, "utf-8")
    if bad is None:
        return "utf-8", "every byte fits UTF-8"
    survey = _survey(path, name)
    if survey.failed * 2 <= survey.foreign:
        if by_line:
            return "utf-8", f"most lines fit UTF-8; {survey.failed} do not, the first at {bad}"
        raise _not(name, "UTF-8", bad)
    if found := _old_encoding(path, name, survey):
        return found[0], f"not UTF-8 ({bad}); {found[1]}"
    if by_line and survey.failed * 2 <= survey.lines:
        return "utf-8", f"no encoding fits the {survey.failed} lines that are not UTF-8 ({bad})"
    raise unusable(
        name, f"the text is not UTF-8 ({bad}), and no other encoding is certain", fix=FIX
    )


def _not(name: str, encoding: str, bad: str) -> UserError:
    found = f"the text is not {encoding} ({bad} cannot be decoded)"
    return unusable(name, found, encoding, FIX)


def _given(
    path: Path, name: str, wanted: str, marked: tuple[str, str] | None, by_line: bool
) -> tuple[str, str]:
    try:
        codec = codecs.lookup(wanted).name
        usable = b"\n" in "\n".encode(codec)  # what `unicode_escape` and the like do not give
    except (LookupError, UnicodeError):
        usable = False
    if not usable:
        names = "auto, utf-8, utf-16, cp1252, latin-1, gb18030, shift_jis and others of Python"
        raise unusable("data.encoding", "no text encoding has this name", names)
    if marked and codec.startswith(marked[0].removesuffix("-sig")):
        codec = marked[0]
    if codec in UTF8 and by_line:
        return codec, "data.encoding"
    return _whole(path, name, codec, "data.encoding")


def _whole(path: Path, name: str, encoding: str, reason: str) -> tuple[str, str]:
    if bad := _first_bad(path, name, encoding):
        raise _not(name, encoding.upper().removesuffix("-SIG"), bad)
    return encoding, reason


def _blocks(path: Path, name: str) -> Iterator[bytes]:
    read = 0
    try:
        with open_bytes(path) as handle:
            while block := handle.read(BLOCK):
                read += len(block)
                yield block
    except STREAM_ERRORS as error:
        raise unreadable(name, error, f"after byte {read}") from None


def _first_bad(path: Path, name: str, encoding: str) -> str | None:
    """Return the place of the first byte that cannot be decoded, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    for block in chain(_blocks(path, name), (b"",)):
        try:
            line += decoder.decode(block, final=not block).count("\n")
        except UnicodeDecodeError as error:
            # error.object holds what the decoder kept of the last block, then this one.
            kept = len(error.object) - len(block)
            line += error.object[: error.start].decode(encoding, "ignore").count("\n")
            return f"line {line}, byte {offset - kept + error.start + 1}"
        offset += len(block)
    return None


@dataclass(slots=True)
class _Survey:
    """Lines of a file that is not UTF-8: all, those with foreign bytes, those not UTF-8."""

    lines: int
    foreign: int
    failed: int
    control: bool
    sample: bytearray


def _survey(path: Path, name: str) -> _Survey:
    found = _Survey(0, 0, 0, False, bytearray())
    try:
        with open_bytes(path) as handle:
            # A limit: the only line of a file may be as long as the file.
            while line := handle.readline(BLOCK):
                found.lines += 1
                if not line.isascii():
                    _note(found, line)
    except STREAM_ERRORS as error:
        raise unreadable(name, error, f"line {found.lines + 1}") from None
    return found


def _note(found: _Survey, line: bytes) -> None:
    found.foreign += 1
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        found.failed += 1
        found.control = found.control or C1.search(line) is not None
        found.sample += line[: max(0, SAMPLE - len(found.sample))]


def _old_encoding(path: Path, name: str, survey: _Survey) -> tuple[str, str] | None:
    """Return (encoding, reason) for text that is not UTF-8, or None where it is not certain."""
    sample = bytes(survey.sample)
    best = _best_match(sample)
    sure = best is not None and best.chaos <= MOST_CHAOS and best.coherence >= LEAST_COHERENCE
    if _looks_western(sample):
        if sure and best.language in NOT_WESTERN and "cp1252" not in best.could_be_from_charset:
            return None
        if survey.control and _first_bad(path, name, "cp1252") is None:
            return "cp1252", "single foreign bytes as in Western words, some from 0x80-0x9f"
        return "latin-1", "single foreign bytes as in Western words"
    if best is None or best.chaos > MOST_CHAOS:
        return None
    pairs = best.encoding in DOUBLE and sum(map(len, HIGH_RUN.findall(sample))) >= LEAST_PAIRS
    if not (sure or pairs) or _first_bad(path, name, best.encoding) is not None:
        return None
    return best.encoding, f"charset-normalizer recognises {best.language}"


def _looks_western(sample: bytes) -> bool:
    runs, inside = HIGH_RUN.findall(sample), IN_WORD.findall(sample)
    long = sum(len(run) > 2 for run in runs)
    odd = sum(byte[0] not in WESTERN for byte in inside)
    return long <= FEW * len(runs) and odd <= FEW * len(inside)


def _best_match(sample: bytes) -> Any:
    """Return charset-normalizer's best match among the encodings we know it to be right about."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=SINGLE + DOUBLE, enable_fallback=False)
    return matches.best()
