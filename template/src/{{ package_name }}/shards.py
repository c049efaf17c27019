"""Finished blocks of scrubbed rows on the disk: a killed preparation goes on after them.

A block holds scrubbed text only. Its signatures are written first and its rows last, both
under another name until they are complete, so a block whose rows are there is finished.
The blocks lie in a folder that is named after all they depend on: a process that outlives
its preparation cannot write into the blocks of another one.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .utils import sha256_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = ".work"
NUMBERED = "[0-9]*"  # of a complete file; drafts begin with a dot


class Shards:
    """The blocks of one preparation, numbered by their place in the raw rows."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """Take over the blocks of an interrupted preparation, or begin with none.

        Args:
            folder: Where they lie.
            identity: All that the content of a block depends on; blocks of another one go.
        """
        self._parent = folder
        self._folder = folder / sha256_json(identity)[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        drafts = self._folder.glob(".*")
        for path in (*(other for other in folder.iterdir() if other != self._folder), *drafts):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @property
    def folder(self) -> Path:
        """Return where the blocks lie."""
        return self._folder

    def is_finished(self, number: int, rows: int) -> bool:
        """Say whether a block needs no more work: all of its rows are there and signed.

        They are counted, because a machine that loses its power may keep a file's name and
        lose its content.
        """
        import numpy as np

        try:
            signed = len(np.load(self._signatures(number), mmap_mode="r"))
            with self._rows(number).open("rb") as lines:
                written = sum(1 for line in lines if line.endswith(b"}\n"))
        except (OSError, ValueError):
            return False
        return signed == written == rows

    def finished(self) -> list[int]:
        """Return the numbers of the finished blocks, in order."""
        return sorted(int(path.stem) for path in self._folder.glob(f"{NUMBERED}.jsonl"))

    def write(
        self, number: int, rows: Sequence[Mapping[str, Any]], signatures: "NDArray[Any]"
    ) -> None:
        """Write a block: one entry for each row, one signature for each entry."""
        import numpy as np

        assert len(rows) == len(signatures), "one signature for each entry"
        content = io.BytesIO()
        # Not to the file itself: numpy does not say why a file could not be written.
        np.save(content, signatures)
        draft = self._folder / f".{number}.{os.getpid()}"
        draft.write_bytes(content.getbuffer())
        draft.replace(self._signatures(number))
        with draft.open("w", encoding="utf-8", newline="\n") as handle:
            for row in rows:
                handle.write(json.dumps(row) + "\n")
        draft.replace(self._rows(number))

    def signatures(self) -> list[Path]:
        """Return the files with the signatures of the finished blocks, in order."""
        return [self._signatures(number) for number in self.finished()]

    def signature(self, entry: int) -> "NDArray[Any]":
        """Return the signature of an entry, by its place among those of all blocks."""
        import numpy as np

        for path in self.signatures():
            block = np.load(path, mmap_mode="r")
            if entry < len(block):
                return block[entry]
            entry -= len(block)
        raise AssertionError("an entry of a finished block")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of all finished blocks, in the order of the raw rows."""
        for number in self.finished():
            with self._rows(number).open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)

    def remove(self) -> None:
        """Delete all blocks."""
        shutil.rmtree(self._parent, ignore_errors=True)

    def _rows(self, number: int) -> Path:
        return self._folder / f"{number:08d}.jsonl"

    def _signatures(self, number: int) -> Path:
        return self._folder / f"{number:08d}.npy"
