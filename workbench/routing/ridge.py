"""Ridge regression on blocks of features, many settings and targets at once.

    fits = fit_ridge(blocks, targets, settings)      # one pass of conjugate gradients for all of them
    fits.predict(other_blocks, 0)                    # by the first setting, a column a target

Each setting weighs the blocks and has a penalty; in the dual they differ by factors only, so one product with the
features serves all (Hestenes and Stiefel 1952, by columns).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Matrix = sparse.csr_matrix
_STEPS = 60
_ENOUGH = 1e-2  # of the right side's norm: what a prediction does not show any more


@dataclass(frozen=True)
class Setting:
    """A penalty, and how much each block counts; a block that is not named counts nothing."""

    penalty: float
    weights: tuple[tuple[str, float], ...]

    def of(self, block: str) -> float:
        return dict(self.weights).get(block, 0.0)


@dataclass(frozen=True)
class Fits:
    """Coefficients of every setting and target.

    Attributes:
        present: by block, the features that the rows show at all.
        coefficients: by block, of those, shape (present, settings × targets).
        intercepts: shape (settings × targets,).
    """

    present: dict[str, NDArray[np.intp]]
    coefficients: dict[str, Floats]
    intercepts: Floats
    targets: int

    def predict(self, blocks: Mapping[str, Matrix], setting: int) -> Floats:
        """Shape (rows, targets)."""
        own = slice(setting * self.targets, (setting + 1) * self.targets)
        total = self.intercepts[own]
        for name, matrix in blocks.items():
            if name in self.coefficients:
                total = total + matrix[:, self.present[name]] @ self.coefficients[name][:, own]
        return np.asarray(total, dtype=float)

    def whole(self, name: str, features: int, setting: int = 0) -> Floats:
        """A block's coefficients for all of its features, shape (features, targets); 0 for what was never seen."""
        found = np.zeros((features, self.targets))
        own = slice(setting * self.targets, (setting + 1) * self.targets)
        found[self.present[name]] = self.coefficients[name][:, own]
        return found


def fit_ridge(blocks: Mapping[str, Matrix], targets: Floats, settings: Sequence[Setting]) -> Fits:
    """Fit every setting to every target; intercepts carry no penalty.

    Args:
        blocks: features of the same rows, by name.
        targets: shape (rows, targets).
        settings: what is tried.
    """
    count = targets.shape[1]
    middle = targets.mean(axis=0)
    right = np.tile(targets - middle, len(settings))
    penalty = np.repeat([setting.penalty for setting in settings], count)
    squared = {
        name: np.repeat([setting.of(name) ** 2 for setting in settings], count)
        for name in blocks
        if any(setting.of(name) for setting in settings)
    }
    present = {name: _present(blocks[name]) for name in squared}
    shown = {name: blocks[name][:, present[name]] for name in squared}
    turned = {name: shown[name].T.tocsr() for name in squared}

    def product(columns: Floats) -> Floats:
        total = penalty * columns
        for name, factor in squared.items():
            used = factor > 0
            across = shown[name] @ (turned[name] @ columns[:, used])
            total[:, used] += factor[used] * (across - across.mean(axis=0))
        return total

    dual = _conjugate_gradients(product, right)
    coefficients = {name: factor * (turned[name] @ dual) for name, factor in squared.items()}
    intercepts = np.tile(middle, len(settings))
    for name, found in coefficients.items():
        intercepts = intercepts - np.asarray(shown[name].mean(axis=0)).ravel() @ found
    return Fits(present, coefficients, intercepts, count)


def _present(block: Matrix) -> NDArray[np.intp]:
    """The features that any row shows."""
    return np.unique(block.indices[block.data != 0]).astype(np.intp)


def _conjugate_gradients(product, right: Floats) -> Floats:  # type: ignore[no-untyped-def]
    """Solve product(x) = right for each column; right sides have mean 0, and so has what follows."""
    solution = np.zeros_like(right)
    rest = right.copy()
    way = rest.copy()
    length = (rest**2).sum(axis=0)
    enough = _ENOUGH**2 * np.maximum(length, 1e-30)
    for _ in range(_STEPS):
        if (length <= enough).all():
            break
        across = product(way)
        step = np.where(length > enough, length / np.maximum((way * across).sum(axis=0), 1e-30), 0.0)
        solution += step * way
        rest -= step * across
        shorter = (rest**2).sum(axis=0)
        way = rest + np.where(length > 0, shorter / np.maximum(length, 1e-30), 0.0) * way
        length = shorter
    return solution
