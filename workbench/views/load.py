"""A load test for people: a table, a figure, and what follows from it in sentences.

print(load_text(result))
load_figure(result)                                  # latency and goodput against load, with the knee
print(*conclusions(result, models, utilization=0.2), sep="\\n")
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from workbench.breakeven import At, BreakEven, break_even, counts, price_of
from workbench.load.result import Figure, LoadResult, Quantiles, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture

    from workbench.catalog import Models

_QUANTILES = ("p50", "p90", "p95", "p99")
# Of Okabe and Ito's colors, as in `views.figures`.
_BLUE, _ORANGE, _GREEN, _GRAY = "#0072B2", "#D55E00", "#009E73", "#888888"


def load_table(result: LoadResult) -> pd.DataFrame:
    """The steps as a table, a row a level; times in seconds.

    Returns:
        Columns such as `ttft_p95_s` and `goodput_per_s`, each with the ends of its 95 % interval over repeats beside it
        (`ttft_p95_lo_s`, `ttft_p95_hi_s`, `goodput_per_s_lo`, `goodput_per_s_hi`); NaN is unknown, and infinite is a
        time without bound, where too many requests failed.
    """
    return pd.DataFrame([_row(result, step) for step in result.steps])


def _row(result: LoadResult, step: Step) -> dict[str, object]:
    row: dict[str, object] = {"in_flight" if result.loop == "closed" else "requests_per_s_asked": step.level}
    for name, found in _times(step).items():
        for quantile in _QUANTILES:
            figure: Figure | None = getattr(found, quantile, None)
            row[f"{name.lower()}_{quantile}_s"] = figure.number if figure else math.nan
            row |= {f"{name.lower()}_{quantile}_{end}_s": _end(figure, end) for end in ("lo", "hi")}
    for name in ("output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "goodput_per_s"):
        rate: Figure = getattr(step, name)
        row |= {name: rate.value} | {f"{name}_{end}": _end(rate, end) for end in ("lo", "hi")}
    return row | {
        "kv_cache": step.kv_cache,
        "prefix_hits": step.prefix_hits,
        "requests": step.requests,
        "failed": step.failed,
    }


def _end(figure: Figure | None, end: str) -> float:
    """An end of an interval; an upper one that is not there beside a lower one is without bound."""
    value: float | None = getattr(figure, end, None)
    if value is not None:
        return value
    return math.inf if end == "hi" and figure is not None and figure.lo is not None else math.nan


def _times(step: Step) -> dict[str, Quantiles | None]:
    """To the first token, between tokens, end to end."""
    return {"TTFT": step.ttft_s, "ITL": step.itl_s, "e2e": step.latency_s}


def load_text(result: LoadResult) -> str:
    """The steps for a terminal, each figure with its interval, and what a reader should know."""
    lines = [f"{result.model}: {result.workload}, {result.loop} loop, {result.engine_id}"]
    lines.append("TTFT is the time to the first token, ITL between tokens, e2e of the whole answer; (a–b) are 95 %")
    lines.append("intervals over the repeats; '?' has fewer requests than it takes to bound the quantile")
    units = {name: _unit([_times(step)[name] for step in result.steps]) for name in ("TTFT", "ITL", "e2e")}
    for step in result.steps:
        lines += _step_lines(result, step, units)
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join([*lines, *_client_line(result), *(f"problem: {problem}" for problem in result.problems)])


def _unit(found: Sequence[Quantiles | None]) -> str:
    """The unit of a time on all levels: milliseconds, where none is ten seconds long."""
    known = [getattr(each, name).value or 0.0 for each in found if each is not None for name in _QUANTILES]
    return "s" if max(known, default=0.0) >= 10 else "ms"


def _step_lines(result: LoadResult, step: Step, units: Mapping[str, str]) -> list[str]:
    level = f"{result.level_name(step.level)}: {step.requests} measured, {_failed(step)}{_engine(step)}"
    lines = ["", level, "  " + " " * 7 + "".join(f"  {name:>20}" for name in _QUANTILES)]
    for name, found in _times(step).items():
        cells = ["not streamed"] if found is None else [_cell(found, each, units[name]) for each in _QUANTILES]
        lines.append(f"  {f'{name} {units[name]}':7}" + "".join(f"  {cell:>20}" for cell in cells))
    tokens = f"{_close(step.output_tokens_per_s)} tokens written, {_close(step.total_tokens_per_s)} with those read"
    answers = f"{_close(step.requests_per_s)} requests, {_close(step.goodput_per_s)} of them within limits"
    return [*lines, f"  a second: {tokens}", f"            {answers}"]


def _cell(found: Quantiles, name: str, unit: str) -> str:
    def say(value: float | None) -> str:
        return _short(value if value is None or unit == "s" else 1000 * value)

    figure = getattr(found, name)
    mark = "?" if name != "p50" and found.few(float(f"0.{name[1:]}")) else ""
    return f"{'endless' if figure.value is None else say(figure.value)}{_between(figure, say)}{mark}"


def _close(figure: Figure) -> str:
    return f"{_short(figure.value)}{_between(figure, _short)}"


def _between(figure: Figure, say: Callable[[float | None], str]) -> str:
    """An interval, as short as can be."""
    return "" if figure.lo is None and figure.hi is None else f" ({say(figure.lo)}–{say(figure.hi)})"


def _failed(step: Step) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in step.errors.items()) or "none failed"


def _engine(step: Step) -> str:
    """What the engine said of its caches."""
    told = [] if step.kv_cache is None else [f"KV cache {step.kv_cache:.0%} (at most {step.kv_cache_max:.0%})"]
    told += [] if step.prefix_hits is None else [f"prefix hits {step.prefix_hits:.0%}"]
    return f"; {', '.join(told)}" if told else "; caches: not offered"


def _client_line(result: LoadResult) -> list[str]:
    """The client's own share, at its worst."""
    shares = [step.client for step in result.steps if step.client is not None]
    if not shares:
        return []
    lag_s, lag_p95_s, late_s = (
        max(getattr(each, name) for each in shares) for name in ("lag_s", "lag_p95_s", "late_p95_s")
    )
    late = "" if result.loop == "closed" else f", requests sent {late_s * 1000:.1f} ms after they were due (p95)"
    lag = f"{lag_s * 1000:.1f} ms ({lag_p95_s * 1000:.1f} p95)"
    return [f"client: at its worst {lag} late, its thread {max(each.busy for each in shares):.0%} busy{late}"]


def _with(figure: Figure, say: Callable[[float | None], str] | None = None) -> str:
    """A figure with its interval."""
    say = say or _short
    if figure.value is None or (figure.lo is None and figure.hi is None):
        return say(figure.value)
    return f"{say(figure.value)} ({say(figure.lo)} – {say(figure.hi)})"


def _short(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _seconds(value: float | None) -> str:
    return "endless" if value is None else f"{value:.3f}" if value < 1 else f"{value:.3g}"


def conclusions(
    result: LoadResult,
    models: Models | None = None,
    utilization: float | None = None,
    against: Iterable[str] = (),
) -> list[str]:
    """What follows, in sentences: saturation, knee, limits, the price of a token, and from how many on it pays.

    Args:
        models: against whose hosted models it is held; None leaves that out.
        utilization: the share of the machine's throughput that is really used; None leaves that out.
        against: further models of the bundled price tables, such as `openai/gpt-4o-mini`.

    Raises:
        InputError: utilization is not above 0 and at most 1; `against` names no provider and model.
    """
    top, at_knee = result.saturation, result.step(result.knee)
    where = "saturated at" if result.saturated else "no plateau yet; most at"
    lines = [
        f"{result.model}: {where} {result.level_name(top.level)}: {_with(top.output_tokens_per_s)} output tokens/s, "
        f"{_with(top.total_tokens_per_s)} tokens/s in all, {_with(top.requests_per_s)} requests/s.",
        f"knee (most throughput over mean latency): {result.level_name(at_knee.level)}, end to end p95 "
        f"{_seconds(at_knee.latency_s.p95.value)}{' s' if at_knee.latency_s.p95.value else ''}.",
    ]
    if (kept := result.at_limits) is not None:
        lines.append(
            f"p95 keeps the limits ({result.limits.describe()}) up to {result.level_name(kept.level)}: "
            f"{_with(kept.requests_per_s)} requests/s."
        )
    elif result.limits.describe() != "none":
        lines.append(f"no load that was asked keeps the limits ({result.limits.describe()}) at p95.")
    return lines + _prices(result, models, utilization) + _break_evens(result, models, against)


def _prices(result: LoadResult, models: Models | None, utilization: float | None) -> list[str]:
    usd_per_hour = models.machine.usd_per_hour if models else None
    asked: list[tuple[str, At, float]] = [("at saturation", "saturation", 1.0), ("at p95 limits", "limits", 1.0)]
    if utilization is not None:
        asked.append((f"used to {utilization:.0%} of saturation", "saturation", utilization))
    found = [(name, price_of(result, usd_per_hour, share, at)) for name, at, share in asked]
    told = [f"{_usd(price.usd_per_mtok)} {name}" for name, price in found if price and price.usd_per_mtok.value]
    if not any(price for _, price in found):
        unknown = "a token's price is not known: set machine.usd_per_hour in models.yaml."
        return [unknown] if result.zone == "local" else []
    lines = [f"a million tokens, read and written as measured, cost {'; '.join(told)}."] if told else []
    if not counts(result.saturation):
        what = "the price at saturation" if told else "a token's price"
        why = "the server did not count the tokens of all its answers"
        lines.append(f"{what}, and from how many a day on it pays, are not known: {why}.")
    return lines


def _usd(figure: Figure) -> str:
    if figure.value is None:
        return "an unknown price"
    span = f" (${figure.lo:.2g} – {f'${figure.hi:.2g}' if figure.hi else '?'})" if figure.lo is not None else ""
    return f"${figure.value:.3g}{span}"


def _break_evens(result: LoadResult, models: Models | None, against: Iterable[str]) -> list[str]:
    return [_break_even(each) for each in break_even(result, models, against=against)] if models else []


def _break_even(found: BreakEven) -> str:
    needed, can = found.tokens_per_day, _millions(found.capacity_per_day)
    if needed is None or found.usd_per_mtok is None:
        return f"against {found.model}: its price is not known."
    if math.isinf(needed):
        return f"against {found.model}: it is free."
    verdict = "which it cannot serve" if not found.serves else f"which it can serve, {found.utilization:.0%} of {can}"
    return (
        f"break-even against {found.model} (${found.usd_per_mtok:.3g} a million tokens in this mix): "
        f"{_millions(needed)} tokens a day, {verdict if found.serves else f'{verdict}: its most is {can}'}."
    )


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:.3g} million" if tokens < 1e9 else f"{tokens / 1e9:.3g} billion"


def load_figure(result: LoadResult) -> Picture:
    """Latency against load in three panels, p50 and p95 with intervals over repeats, and goodput; the knee is marked.

    Returns:
        A figure that is not registered with pyplot, so that nothing is shown twice.
    """
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(10.5, 7.2), layout="constrained")
    picture.patch.set_facecolor("white")
    ((first, between), (whole, good)) = picture.subplots(2, 2)
    limits = result.limits
    _draw_times(first, result, "time to first token (s)", lambda step: step.ttft_s, limits.ttft_s)
    _draw_times(between, result, "time between tokens (s)", lambda step: step.itl_s, None)
    _draw_times(whole, result, "end to end (s)", lambda step: step.latency_s, limits.e2e_s)
    _draw_goodput(good, result)
    picture.suptitle(f"{result.model}: {result.workload}, {result.loop} loop", fontsize=11)
    return picture


def _draw_times(
    axis: Axes, result: LoadResult, label: str, of: Callable[[Step], Quantiles | None], limit: float | None
) -> None:
    from matplotlib.ticker import FuncFormatter

    styles = (("p50", _BLUE, "o", "-"), ("p95", _ORANGE, "s", "--"))
    endless = False
    for name, color, marker, line in styles:
        points = [(step.level, getattr(found, name)) for step in result.steps if (found := of(step)) is not None]
        endless = endless or any(figure.value is None for _, figure in points)
        _line(axis, points, name, color, marker, line)
    if limit is not None:
        axis.axhline(limit, color=_GREEN, linewidth=1.2, linestyle=":", label=f"limit, {limit:g} s")
    axis.set_yscale("log")
    for place in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
        place(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.set_ylabel(label)
    if endless:
        axis.set_title("not drawn where too many requests failed", fontsize=8, color="#555555")
    _finish(axis, result)


def _draw_goodput(axis: Axes, result: LoadResult) -> None:
    done = [(step.level, step.requests_per_s) for step in result.steps]
    good = [(step.level, step.goodput_per_s) for step in result.steps]
    _line(axis, done, "answered", _BLUE, "o", "-")
    _line(axis, good, "within limits (goodput)", _ORANGE, "s", "--")
    axis.set_ylabel("requests/s")
    axis.set_ylim(bottom=0)
    _finish(axis, result)


def _line(axis: Axes, points: Sequence[tuple[float, Figure]], label: str, color: str, marker: str, line: str) -> None:
    known = [(level, figure.value, figure.lo, figure.hi) for level, figure in points if figure.value is not None]
    if not known:
        return
    below = [value - lo if lo is not None else 0.0 for _, value, lo, _ in known]
    above = [hi - value if hi is not None else 0.0 for _, value, _, hi in known]
    aside = 1.0 if marker == "o" else 1.025  # bars side by side
    axis.errorbar(
        [level * aside for level, *_ in known],
        [value for _, value, *_ in known],
        yerr=[[max(each, 0.0) for each in below], [max(each, 0.0) for each in above]],
        color=color,
        marker=marker,
        linestyle=line,
        markersize=5,
        capsize=3,
        elinewidth=1,
        label=label,
    )


def _finish(axis: Axes, result: LoadResult) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    levels = [step.level for step in result.steps]
    if result.loop == "closed":
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_locator(FixedLocator(levels))
        axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_xlabel("requests in flight" if result.loop == "closed" else "requests/s, as they arrive")
    axis.axvline(result.knee, color=_GRAY, linewidth=1.2, linestyle="-.", label="knee")
    axis.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.legend(frameon=False, fontsize=8)
