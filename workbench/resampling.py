"""Bootstrap and sign-flip draws of many columns at once, always the same for the same seed.

    resampled_sums(columns)          # (n, m) numbers to (2000, m) sums of n units drawn with replacement
    flipped_sums(columns)            # (n, m) numbers to (resamples, m) sums with random signs

Drawing units with replacement is weighing them by how often they come: a product of matrices does it for all columns.
The sums are those of whole units: items, or clusters where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
SEED = 0
_BLOCK = 5_000_000  # numbers that are drawn at once
_EXACT = 12  # units up to which every pattern of signs is looked at


def resampled_sums(columns: Floats, resamples: int = RESAMPLES) -> Floats:
    """Each column's sum in bootstrap resamples of its rows, shape (resamples, m); the same rows for all columns."""
    return np.concatenate([weights @ columns for weights in _weights(len(columns), resamples)])


def flipped_sums(columns: Floats, resamples: int = RESAMPLES) -> tuple[Floats, bool]:
    """Each column's sum with the signs of its rows flipped at random, shape (resamples, m).

    Returns:
        The sums, and whether they are all there are (up to 12 rows) rather than a sample.
    """
    n = len(columns)
    if n <= _EXACT:
        patterns = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return (1.0 - 2.0 * patterns) @ columns, True
    generator, step = np.random.default_rng(SEED), max(1, _BLOCK // n)
    counts = [min(step, resamples - start) for start in range(0, resamples, step)]
    signs = (generator.integers(0, 2, (count, n)) * 2.0 - 1.0 for count in counts)
    return np.concatenate([each @ columns for each in signs]), False


def _weights(n: int, resamples: int) -> Iterator[Floats]:
    """How often each of n rows comes in each resample, in blocks."""
    if n * resamples <= _BLOCK:
        yield _drawn_once(n, resamples)
        return
    generator, step = np.random.default_rng(SEED), max(1, _BLOCK // n)
    for start in range(0, resamples, step):
        yield _drawn(generator, n, min(step, resamples - start))


@lru_cache(maxsize=4)
def _drawn_once(n: int, resamples: int) -> Floats:
    found = _drawn(np.random.default_rng(SEED), n, resamples)
    found.flags.writeable = False
    return found


def _drawn(generator: np.random.Generator, n: int, resamples: int) -> Floats:
    rows = generator.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(rows.ravel(), minlength=resamples * n).reshape(resamples, n).astype(float)
