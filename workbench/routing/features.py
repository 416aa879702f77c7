"""Features of a prompt: words and pairs of words, characters, length, and the item's slices where that is asked for.

    prompts = Prompts.of(texts, slices)             # hashed counts, made once
    blocks, state = prompts.weighted(train)         # TF-IDF of what the training items show, for all items
    state.rows(["a new prompt"])                    # the same features of another prompt

Embeddings are an extra: the name or folder of a sentence-transformers model, which runs in this process.

N-grams are hashed, so that a router's file holds no word of any item: restricted text does not leave by way of a
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from workbench.errors import InputError

Floats = NDArray[np.float64]
Matrix = sparse.csr_matrix

BUCKETS = {"words": 1 << 17, "characters": 1 << 17, "slices": 1 << 12}
LENGTHS = 4  # figures of a prompt's length
_KINDS = {
    "words": {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"\w+|[^\w\s]"},
    "characters": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}
_RARE = 2  # an n-gram that fewer items show tells nothing about another item


def _counts(texts: Sequence[str], kind: str) -> Matrix:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=BUCKETS[kind], alternate_sign=False, norm=None, **_KINDS[kind])
    counts: Matrix = hashing.transform(list(texts)).tocsr()
    counts.data = 1 + np.log(counts.data)
    return counts


def _tokens(slices: Sequence[str]) -> Matrix:
    """A column for each value of each slice."""
    from sklearn.feature_extraction import FeatureHasher

    hashing = FeatureHasher(n_features=BUCKETS["slices"], input_type="string", alternate_sign=False)
    found: Matrix = hashing.transform([[text] for text in slices]).tocsr()
    return found


def _lengths(texts: Sequence[str]) -> Floats:
    """Logarithms of characters, words, digits and lines."""
    figures = [(len(text), text.count(" "), sum(map(str.isdigit, text)), text.count("\n")) for text in texts]
    found: Floats = np.log1p(np.array(figures, dtype=float).reshape(len(figures), LENGTHS))
    return found


def embedded(texts: Sequence[str], model: str) -> Matrix:
    """Rows of length 1 by a sentence-transformers model, in this process: no text leaves it.

    Raises:
        InputError: the package is not installed, or it has no such model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise InputError("embeddings take sentence-transformers. Install it, or leave embeddings out.") from None
    try:
        encoder = SentenceTransformer(model, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as failure:
        raise InputError(f"embeddings: '{model}' cannot be loaded ({type(failure).__name__}). Name a folder.") from None
    return sparse.csr_matrix(np.asarray(encoder.encode(list(texts), normalize_embeddings=True), dtype=float))


@dataclass(frozen=True)
class State:
    """What of the training items the features of a further prompt take: no text.

    Attributes:
        idf: by kind of n-gram, the weight of each bucket; 0 where hardly any item has it.
        embeddings: the model that makes them, or None.
        center: of the lengths.
        scale: of the lengths.
    """

    idf: dict[str, Floats]
    center: Floats
    scale: Floats
    with_slices: bool
    embeddings: str | None = None

    def rows(self, texts: Sequence[str], slices: Sequence[str] | None = None) -> dict[str, Matrix]:
        """The features of prompts, by block, a row a prompt."""
        counts = {kind: _counts(texts, kind) for kind in self.idf}
        tokens = _tokens(slices or [""] * len(texts)) if self.with_slices else None
        vectors = embedded(texts, self.embeddings) if self.embeddings else None
        return self.weigh(counts, _lengths(texts), tokens, vectors)

    def weigh(
        self, counts: dict[str, Matrix], lengths: Floats, tokens: Matrix | None, vectors: Matrix | None
    ) -> dict[str, Matrix]:
        blocks = {kind: _weighed(matrix, self.idf[kind]) for kind, matrix in counts.items()}
        blocks["lengths"] = sparse.csr_matrix((lengths - self.center) / self.scale)
        if tokens is not None:
            blocks["slices"] = tokens
        if vectors is not None:
            blocks["embeddings"] = vectors
        return blocks


@dataclass(frozen=True)
class Prompts:
    """Prompts as counts of hashed n-grams, before any weight is learned."""

    counts: dict[str, Matrix]
    lengths: Floats
    tokens: Matrix | None
    vectors: Matrix | None = None
    embeddings: str | None = None

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        slices: Sequence[str] | None = None,
        characters: bool = False,
        embeddings: str | None = None,
    ) -> Prompts:
        kinds = ["words", "characters"] if characters else ["words"]
        counts = {kind: _counts(texts, kind) for kind in kinds}
        vectors = embedded(texts, embeddings) if embeddings else None
        return cls(counts, _lengths(texts), None if slices is None else _tokens(slices), vectors, embeddings)

    def weighted(self, train: NDArray[np.bool_]) -> tuple[dict[str, Matrix], State]:
        """The blocks of all prompts, with weights of the training ones alone, and what they rest on."""
        idf = {}
        for kind, matrix in self.counts.items():
            shown = np.bincount(matrix[train].indices, minlength=matrix.shape[1])
            weight = np.log((1 + train.sum()) / (1 + shown)) + 1
            idf[kind] = np.where(shown >= _RARE, weight, 0.0)
        own = self.lengths[train]
        with_slices = self.tokens is not None
        state = State(idf, own.mean(axis=0), own.std(axis=0) + 1e-9, with_slices, self.embeddings)
        return state.weigh(self.counts, self.lengths, self.tokens, self.vectors), state


def _weighed(counts: Matrix, idf: Floats) -> Matrix:
    """Rows of length 1."""
    found = counts.copy()
    found.data = found.data * idf[found.indices]
    squares = np.add.reduceat(np.append(found.data**2, 0.0), found.indptr[:-1]) * (np.diff(found.indptr) > 0)
    lengths = np.sqrt(np.where(squares > 0, squares, 1.0))
    found.data = found.data / np.repeat(lengths, np.diff(found.indptr))
    return found
