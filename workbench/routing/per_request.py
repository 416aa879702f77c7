"""A model for each request: the prompt's features predict which candidate gives an accepted answer.

    trained = nested(prompts, targets, groups, folds_of)       # chances out of sample, settings chosen inside each fold
    router = fit_router(prompts, targets, groups, names)       # the one that is shipped

Nested cross-validation: whole groups (clusters, and prompts that are nearly the same) lie in one fold; penalty,
features and calibration are chosen inside the training folds alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from workbench.routing.cell import OUTER, folds
from workbench.routing.features import BUCKETS, LENGTHS, Prompts
from workbench.routing.ridge import Fits, Setting, fit_ridge
from workbench.routing.router import Router, calibrated

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]

INNER = 3
FEWEST_ITEMS = 200  # with fewer, chances are not told apart
CHARACTERS_AT_MOST = 500_000  # of all prompts together: above, words say enough, and characters take long
_PENALTIES = (4.0, 12.0, 36.0)
_LENGTHS = (0.0, 0.05)
_SLICES = 0.3
_PRICES = 16


@dataclass(frozen=True)
class Trained:
    """What one training set teaches.

    Attributes:
        setting: the one that predicted best inside the training set.
        inner: calibrated chances of the training items by models that did not see them, NaN elsewhere.
        calibration: slope and offset of each candidate.
        fits: the model of the whole training set.
    """

    setting: Setting
    inner: Floats
    calibration: Floats
    fits: Fits
    chances: Floats


def prompts_of(texts: Sequence[str], slices: Sequence[str] | None = None, embeddings: str | None = None) -> Prompts:
    """Features of prompts; those of characters only where the texts are few or short.

    Args:
        texts: the prompts.
        slices: the items' slices, where they are to be a signal.
        embeddings: a sentence-transformers model, by name or folder.
    """
    characters = sum(map(len, texts)) <= CHARACTERS_AT_MOST and embeddings is None
    return Prompts.of(texts, slices, characters, embeddings)


def settings_of(prompts: Prompts) -> list[Setting]:
    """What is tried."""
    characters = (0.0, 1.0) if "characters" in prompts.counts else (0.0,)
    embeddings = (0.0, 1.0, 2.0) if prompts.vectors is not None else (0.0,)
    slices = () if prompts.tokens is None else (("slices", _SLICES),)
    return [
        Setting(
            penalty, (("words", 1.0), ("lengths", length), ("characters", character), ("embeddings", vector), *slices)
        )
        for penalty, length, character, vector in product(_PENALTIES, _LENGTHS, characters, embeddings)
    ]


def train(prompts: Prompts, targets: Floats, groups: Indices, rows: Bools, seed: int) -> Trained:
    """Choose a setting inside some items, calibrate, and fit all of them.

    Args:
        prompts: of all items.
        targets: acceptance, items × candidates.
        groups: shape (items,).
        rows: which are the training items.
        seed: of the inner folds.

    Returns:
        With calibrated chances of all items.
    """
    settings = settings_of(prompts)
    at = np.flatnonzero(rows)
    inner_folds = folds(groups[at], INNER, seed)
    linear = np.full((len(settings), len(targets), targets.shape[1]), np.nan)
    for fold in range(int(inner_folds.max()) + 1):
        own, held = at[inner_folds != fold], at[inner_folds == fold]
        mask = np.zeros(len(targets), dtype=bool)
        mask[own] = True
        blocks, _ = prompts.weighted(mask)
        fits = fit_ridge({name: block[own] for name, block in blocks.items()}, targets[own], settings)
        held_blocks = {name: block[held] for name, block in blocks.items()}
        for index in range(len(settings)):
            linear[index, held] = fits.predict(held_blocks, index)
    best = int(np.argmin([_between(targets[at] - linear[index, at]) for index in range(len(settings))]))
    calibration = np.array([_platt(linear[best, at, j], targets[at, j]) for j in range(targets.shape[1])])
    blocks, _ = prompts.weighted(rows)
    fits = fit_ridge({name: block[at] for name, block in blocks.items()}, targets[at], [settings[best]])
    chances = calibrated(fits.predict(blocks, 0), calibration)
    return Trained(settings[best], calibrated(linear[best], calibration), calibration, fits, chances)


def _between(errors: Floats) -> float:
    """The mean squared error of the differences between candidates: what a choice rests on."""
    return float(((errors - errors.mean(axis=1, keepdims=True)) ** 2).mean())


def _platt(linear: Floats, target: Floats) -> tuple[float, float]:
    """Slope and offset of a logistic regression on one figure; a share counts as both outcomes, by weight."""
    from sklearn.linear_model import LogisticRegression

    if target.min() == target.max():
        chance = float(np.clip(target.mean(), 1e-3, 1 - 1e-3))
        return 0.0, float(np.log(chance / (1 - chance)))
    column = np.concatenate([linear, linear])[:, None]
    labels = np.repeat([1, 0], len(linear))
    weights = np.concatenate([target, 1 - target])
    found = LogisticRegression(C=1e4).fit(column, labels, sample_weight=weights)
    return float(found.coef_[0, 0]), float(found.intercept_[0])


def nested(
    prompts: Prompts, targets: Floats, groups: Indices, seed: int = 0, outer: int = OUTER
) -> tuple[Floats, Indices, list[Trained]]:
    """Chances of every item by models that never saw it, nor anything of its group.

    Returns:
        Calibrated chances, items × candidates; each item's fold; what each fold's training taught.
    """
    fold_of = folds(groups, outer, seed)
    chances = np.full(targets.shape, np.nan)
    taught = []
    for fold in range(int(fold_of.max()) + 1):
        held = fold_of == fold
        trained = train(prompts, targets, groups, ~held, seed + 1)
        chances[held] = trained.chances[held]
        taught.append(trained)
    return chances, fold_of, taught


def prices_of(chances: Floats, toll: Floats) -> list[float]:
    """How much a unit of the toll may count, so that the mix of candidates moves in even steps.

    Args:
        chances: rows × candidates.
        toll: what answering takes, such as USD, shape (candidates,).
    """
    rates = []
    for a in range(len(toll)):
        for b in range(len(toll)):
            if toll[b] > toll[a]:
                rates.append((chances[:, b] - chances[:, a]) / (toll[b] - toll[a]))
    if not rates:
        return [0.0]
    worth = np.concatenate(rates)
    worth = worth[worth > 0]
    if not len(worth):
        return [0.0]
    return [0.0, *np.unique(np.quantile(worth, np.linspace(0, 1, _PRICES)[1:])).tolist()]


def router_of(
    prompts: Prompts, trained: Trained, names: Sequence[str], price: Floats, rows: Bools, prompt_variant: str
) -> Router:
    """What was taught as something that can be saved."""
    _, state = prompts.weighted(rows)
    vectors = 0 if prompts.vectors is None else prompts.vectors.shape[1]
    width = {**BUCKETS, "lengths": LENGTHS, "embeddings": vectors}
    used = {name: trained.fits.whole(name, width[name]) for name in trained.fits.present if trained.setting.of(name)}
    idf = {kind: weights for kind, weights in state.idf.items() if kind in used}
    return Router(
        candidates=list(names),
        state=replace(state, idf=idf, embeddings=state.embeddings if "embeddings" in used else None),
        coefficients=used,
        intercepts=trained.fits.intercepts,
        calibration=trained.calibration,
        price=price,
        prompt_variant=prompt_variant,
    )
