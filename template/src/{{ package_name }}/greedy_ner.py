"""spaCy's entity recognition in matrix operations: the same entities in a third of the time.

Outside an entity the scores of a token depend on nothing that was decided before (the features
are the token, the first word of the open entity and the word before), so they are computed for
all tokens at once; step by step goes only what lies inside an entity. spaCy takes every token by
itself and waits for Python's lock each time.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.attrs import IS_SPACE
from spacy.language import Language
from spacy.tokens import Doc

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = 3  # of spaCy's `state_type: ner`: this token, first of the entity, the one before
OUT = "O"


class GreedyNer:
    """The decoding of spaCy 3.8 (pipeline/_parser_internals/ner.pyx), for texts without entities.

    Args:
        nlp: A pipeline of which `suits` says that it can be read so.
    """

    def __init__(self, nlp: Language) -> None:
        ner: Any = nlp.get_pipe("ner")
        self._tok2vec = ner.model.get_ref("tok2vec")
        self._lower, upper = ner.model.get_ref("lower"), ner.model.get_ref("upper")
        self._bias = self._lower.get_param("b")
        self._weights, self._constants = upper.get_param("W").T, upper.get_param("b")
        # Classes are tried in spaCy's order: of equal scores the first one wins. `U-` is for tokens
        # that somebody has kept out of entities.
        moves = [ner.moves.get_class_name(number) for number in range(ner.moves.n_moves)]
        self._starts = [name for name in moves if name[0] in "BUO" and name != "U-"]
        self._first = np.array([moves.index(name) for name in self._starts])
        self._begins = np.array([name[0] == "B" for name in self._starts])
        self._out = self._starts.index(OUT)
        self._inside = {
            name[2:]: (moves.index(f"I-{name[2:]}"), moves.index(f"L-{name[2:]}"))
            for name in moves
            if name[0] == "B"
        }

    @staticmethod
    def suits(nlp: Language) -> bool:
        """Return whether a pipeline has the one component, in the one form, that is known here."""
        if nlp.pipe_names != ["ner"] or nlp.get_pipe_meta("ner").factory != "ner":
            return False
        model = nlp.get_pipe("ner").model  # type: ignore[attr-defined]
        lower = model.get_ref("lower")
        plain = model.attrs["has_upper"] and not model.attrs["unseen_classes"]
        return bool(plain and lower.get_dim("nF") == FEATURES and lower.get_dim("nP") > 1)

    def entities(self, docs: Sequence[Doc]) -> list[list[tuple[str, int, int]]]:
        """Return label, first token and the token after the last of each entity of each text."""
        bounds = [0, *accumulate(map(len, docs))]
        found: list[list[tuple[str, int, int]]] = [[] for _ in docs]
        if not bounds[-1]:
            return found
        # [0] is what stands for a feature that there is not; then one row for each token.
        vectors = self._lower.predict(self._tok2vec.predict(docs))
        best = self._best_starts(vectors, docs, bounds)
        opening = np.flatnonzero(best != self._out)
        for number, (start, end) in enumerate(pairwise(bounds)):
            some = opening[np.searchsorted(opening, start) : np.searchsorted(opening, end)]
            for label, first, after in self._decoded(vectors, best, some, end):
                found[number].append((label, first - start, after - start))
        return found

    def _best_starts(
        self, vectors: "NDArray[np.float32]", docs: Sequence[Doc], bounds: Sequence[int]
    ) -> "NDArray[np.intp]":
        """Return for each token the best move while no entity is open, as place in `_starts`."""
        hidden = vectors[1:, 0] + vectors[0, 1] + vectors[0, 2] + self._bias
        highest, _ = self._lower.ops.maxout(hidden)  # as max(axis=-1), and ten times as fast
        scores = (highest @ self._weights + self._constants)[:, self._first]
        last = np.array(bounds[1:])[[len(doc) > 0 for doc in docs]] - 1
        scores[np.ix_(last, self._begins)] = -np.inf  # an entity that begins has a second token
        blank = np.concatenate([doc.to_array(IS_SPACE) for doc in docs if len(doc)]).astype(bool)
        scores[np.ix_(blank, np.arange(len(self._starts)) != self._out)] = -np.inf
        return np.argmax(scores, axis=1)

    def _decoded(
        self,
        vectors: "NDArray[np.float32]",
        best: "NDArray[np.intp]",
        opening: "NDArray[np.intp]",
        end: int,
    ) -> Iterator[tuple[str, int, int]]:
        """Yield the entities of the tokens up to `end`, which may begin at those in `opening`."""
        free = 0
        for first in map(int, opening):
            if first < free:
                continue
            move = self._starts[best[first]]
            free = first + 1
            if move[0] == "B":
                free = self._end(vectors, move[2:], first, end)
            yield move[2:], first, free

    def _end(self, vectors: "NDArray[np.float32]", label: str, first: int, end: int) -> int:
        """Return the token after the last of an entity that begins at `first`."""
        inside = list(self._inside[label])
        weights, constants = self._weights[:, inside], self._constants[inside]
        opened = vectors[first + 1, 1]
        for token in range(first + 1, end - 1):
            hidden = vectors[token + 1, 0] + opened + vectors[token, 2] + self._bias
            more, last = hidden.max(axis=-1) @ weights + constants
            if last > more:
                return token + 1
        return end
