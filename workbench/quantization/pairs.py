"""A candidate against its reference on the items of both: score, flips, agreement, format, retries, length.

    pairs = paired(rows, "smollm2-bf16", "smollm2-w8a8")     # a row a task × prompt variant × item
    figures(pairs, confidence=0.9)["difference"]

Accuracy alone hides damage: two models with the same score may disagree on many items.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.economics import cost_per_accepted
from workbench.intervals import Estimate
from workbench.outcomes import LOST, OWN, UNSCORED
from workbench.pairs import mcnemar_mid_p, paired_difference
from workbench.resampling import Floats

UNIT = ["task", "variant", "item_id"]
_ITEM = ["task", "item_id"]


def paired(
    rows: pd.DataFrame, reference: str, model: str, repeats: tuple[int | None, int | None] = (None, None)
) -> pd.DataFrame:
    """The items that both models were asked with the same prompt.

    Args:
        rows: prepared rows (`scores.prepare`).
        reference: a model's id.
        model: the candidate's.
        repeats: only these repeats of the two; None takes all.

    Returns:
        A row a task × variant × item; for each of `points`, `accepted`, `failed_format`, `retried` and `length` a
        column with `_r` of the reference and one with `_c` of the candidate (means over repeats), `right_r` and
        `right_c` (of the first repeat), `same_output`, `cluster`, `slice`, `class`; NaN is unknown.
    """
    first, second = per_unit(rows, reference, repeats[0]), per_unit(rows, model, repeats[1])
    both = first.add_suffix("_r").join(second.add_suffix("_c"), how="inner")
    both["same_output"] = [_same(r, c) for r, c in zip(both["output_r"], both["output_c"], strict=True)]
    both = both.reset_index()
    return both.drop(columns=["output_r", "output_c", "cluster_c", "slice_c", "class_c"]).rename(
        columns={"cluster_r": "cluster", "slice_r": "slice", "class_r": "class"}
    )


def per_unit(rows: pd.DataFrame, model: str, repeat: int | None = None) -> pd.DataFrame:
    """One model's outcomes by task, prompt variant and item, repeats put together.

    Args:
        repeat: only that repeat, which `right` and `output` are then of; otherwise they are of the first.
    """
    own = rows[rows["model"] == model]
    own = own if repeat is None else own[own["repeat"] == repeat]
    unknown = pd.Series(math.nan, index=own.index)
    answered = own["score"].notna()
    table = own[UNIT].copy()
    table["points"] = own["points"]
    # No answer is no right one and keeps no format, whatever else the row leaves open.
    table["accepted"] = _share(own, "accepted").where(answered, 0.0) if "accepted" in own else unknown
    table["failed_format"] = (1 - _share(own, "format_ok")).where(answered, 1.0) if "format_ok" in own else unknown
    attempts = own["attempts"].astype("float64") if "attempts" in own else unknown
    table["retried"] = _format_retried(own, attempts)
    table["length"] = _lengths(own, attempts)
    found = table.groupby(UNIT, sort=True).mean()
    unsure = table["retried"].isna().groupby([table[name] for name in UNIT]).any()  # one repeat that is not known
    found["retried"] = found["retried"].mask(unsure)
    first = own.assign(right=table["accepted"]).sort_values("repeat").drop_duplicates(UNIT).set_index(UNIT)
    found["right"] = first["right"]
    for name in ("output", "cluster", "slice", "class"):
        found[name] = first.get(name)
    return found


def lost(rows: pd.DataFrame, references: Collection[str]) -> pd.Series[Any]:
    """Which outcomes are errors of the server, the line, a judge or a scorer: neither wrong nor right answers.

    Args:
        references: models of which a missing answer whose cause is not known counts as lost too. Taken for wrong it
            would make a candidate look better; a candidate's own is taken for wrong.
    """
    kinds = rows["error_class"] if "error_class" in rows else pd.Series(None, index=rows.index, dtype=object)
    return rows["score"].isna() & (kinds.isin(LOST | UNSCORED) | (rows["model"].isin(references) & ~kinds.isin(OWN)))


def _share(own: pd.DataFrame, name: str) -> pd.Series[Any]:
    return own[name].astype("Float64").astype("float64")


def _format_retried(own: pd.DataFrame, attempts: pd.Series[Any]) -> pd.Series[Any]:
    """Whether an answer in a wrong format was asked for again.

    Attempts are no such thing: they count lost connections and engines that were restarted as well. Without the column
    `format_retries`, one attempt says that nothing was asked again, and several do not say why.
    """
    if "format_retries" in own:
        again = own["format_retries"].astype("Float64").astype("float64")
        return (again > 0).astype("float64").where(again.notna())
    return pd.Series(0.0, index=own.index).where(attempts == 1)


def _lengths(own: pd.DataFrame, attempts: pd.Series[Any]) -> pd.Series[Any]:
    """Characters of the answer; where no answers are kept, tokens of an attempt (they are summed over attempts)."""
    if length_unit(own) == "characters":
        return own["output"].map(lambda text: float(len(text)) if isinstance(text, str) else math.nan).astype("float64")
    if "output_tokens" in own:
        return own["output_tokens"].astype("Float64").astype("float64") / attempts.clip(lower=1).fillna(1.0)
    return pd.Series(math.nan, index=own.index)


def length_unit(rows: pd.DataFrame) -> str:
    """What the length of an answer is counted in."""
    return "characters" if "output" in rows and rows["output"].notna().any() else "tokens"


def _same(a: Any, b: Any) -> float:
    """Whether two answers say the same; NaN where neither is kept."""
    if not isinstance(a, str) and not isinstance(b, str):
        return math.nan
    return float(isinstance(a, str) and isinstance(b, str) and (a == b or _plain(a) == _plain(b)))


def _plain(text: str) -> Any:
    """An answer without what a reader does not see: JSON by its content, other text by its words."""
    text = unicodedata.normalize("NFC", text).strip()
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return " ".join(text.split())


def figures(pairs: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """What a set of pairs says of a candidate.

    Args:
        pairs: of one candidate, from `paired`.
        confidence: of the two-sided intervals that a verdict rests on.
    """
    score, score_reference, clusters = _by_item(pairs, "points")
    gap = paired_difference(score, score_reference, clusters, confidence)
    found: dict[str, Any] = {"n": gap.n, "score": _mean(score), "difference": gap.value, "lo": gap.lo, "hi": gap.hi}
    found |= {"method": gap.method} | _flips(pairs)
    known = pairs["same_output"].dropna()
    found |= {"same_output": _mean(known.to_numpy(float)), "same_output_n": len(known)}
    for column, name in (("failed_format", "format"), ("retried", "retry")):
        estimate = difference(pairs, column, confidence)
        found |= {column: _mean(pairs[f"{column}_c"].to_numpy(float)), f"{name}_difference": estimate.value}
        found |= {f"{name}_lo": estimate.lo, f"{name}_hi": estimate.hi}
    return found | _length_ratio(pairs)


def difference(pairs: pd.DataFrame, column: str, confidence: float) -> Estimate:
    """The mean difference of a column, candidate − reference; NaN all over where it is not known for every pair."""
    candidate, reference, clusters = _by_item(pairs, column)
    if not len(candidate) or np.isnan(candidate).any() or np.isnan(reference).any():
        return Estimate(math.nan, math.nan, math.nan, "unknown", 0)
    return paired_difference(candidate, reference, clusters, confidence)


def scores(pairs: pd.DataFrame) -> tuple[Floats, Floats]:
    """The item scores of the candidate and of the reference."""
    return _by_item(pairs, "points")[:2]


def _by_item(pairs: pd.DataFrame, column: str) -> tuple[Floats, Floats, NDArray[np.int64] | None]:
    """A column of candidate and reference by item, prompts put together: a further prompt is no further item."""
    groups = pairs.groupby(_ITEM, sort=True)
    items = groups[[f"{column}_c", f"{column}_r"]].mean()
    clusters = None
    if pairs["cluster"].notna().any():
        named = groups["cluster"].first().reset_index()
        own = ["\0".join(map(str, (task, cluster or f"\0{item}"))) for task, item, cluster in named.to_numpy()]
        clusters = pd.factorize(pd.Series(own))[0].astype(np.int64)
    return items[f"{column}_c"].to_numpy(float), items[f"{column}_r"].to_numpy(float), clusters


def _flips(pairs: pd.DataFrame) -> dict[str, Any]:
    """Right to wrong and wrong to right; McNemar's test, where the pairs are one for each independent item."""
    known = pairs[pairs["right_r"].notna() & pairs["right_c"].notna()]
    right, still = known["right_r"] > 0, known["right_c"] > 0
    broke, fixed = int((right & ~still).sum()), int((~right & still).sum())
    alone = known["cluster"].isna().all() and not known.duplicated(_ITEM).any()
    p = float(mcnemar_mid_p(np.array([fixed]), np.array([broke]))[0]) if len(known) and alone else math.nan
    share = (broke + fixed) / len(known) if len(known) else math.nan
    return {
        "flips_n": len(known),
        "broke": broke,
        "fixed": fixed,
        "flips": share,
        "same_accepted": 1 - share,
        "mcnemar_p": p,
    }


def beyond(pairs: pd.DataFrame, noise: pd.DataFrame, confidence: float) -> Estimate:
    """How much more often the candidate flips an item than the reference does when it is asked again.

    A paired difference of shares, on the items of both; so a floor that is itself uncertain widens the interval.
    """
    own = pairs[UNIT].assign(flip_c=_flipped(pairs), cluster=pairs["cluster"])
    both = own.merge(noise[UNIT].assign(flip_r=_flipped(noise)), on=UNIT)
    return difference(both.dropna(subset=["flip_c", "flip_r"]), "flip", confidence)


def _flipped(pairs: pd.DataFrame) -> pd.Series[Any]:
    known = pairs["right_r"].notna() & pairs["right_c"].notna()
    return (pairs["right_r"] != pairs["right_c"]).astype("float64").where(known)


def _length_ratio(pairs: pd.DataFrame) -> dict[str, float]:
    """The answers' total length over the reference's, where both answered; with a 95 % interval."""
    lengths = pairs.dropna(subset=["length_c", "length_r"]).groupby(_ITEM, sort=True)[["length_c", "length_r"]].sum()
    lengths = lengths[(lengths > 0).any(axis=1)]
    # A ratio of two sums over the same items, as a cost over accepted answers is.
    ratio = cost_per_accepted(lengths["length_c"].to_numpy(float), lengths["length_r"].to_numpy(float))
    return {"length_ratio": ratio.value, "length_lo": ratio.lo, "length_hi": ratio.hi}


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
