"""An audit as a page: the verdict, findings, figures, and three plots. All text is escaped.

audit_html(report)
"""

from __future__ import annotations

import base64
import warnings
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.report import in_notebook
from workbench.views.figures import png
from workbench.views.tables import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from workbench.audit import Audit, Finding

_LEVELS = {"error": "✗ error", "warning": "! warning", "note": "· note"}
_LABELS_SHOWN = 24
_NAME = 40  # characters of a label's name
_DIFFERENCES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Okabe and Ito's colors, as in `views.figures`.
_COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888"]


def audit_html(report: Audit) -> str:
    """An audit as HTML."""
    rows = "".join(
        f"<tr><td class=t>{_LEVELS[finding.level]}</td><td class=t>{escape(finding.check)}</td>"
        f"<td class=w>{escape(finding.what)}{_ids(finding)}</td>"
        f"<td class=w>{escape(in_notebook(finding.mend))}</td></tr>"
        for finding in report.by_weight
    )
    head = "<tr><th class=t></th><th class=t>check</th><th class=t>what</th><th class=t>mend</th></tr>"
    facts = "".join(f"<tr><td class=w>{escape(line)}</td></tr>" for line in report.facts())
    rest = "".join(f"<tr><td class=w>not checked: {escape(in_notebook(line))}</td></tr>" for line in report.not_checked)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a label in a script that the font does not have
        picture = base64.b64encode(png(audit_figure(report))).decode()
    return page(
        f"<table><caption>{escape(report.name)}: {report.verdict}</caption>{facts}{rest}</table>"
        f"{f'<table>{head}{rows}</table>' if report.findings else ''}"
        f'<img alt="labels, lengths and detectable differences" src="data:image/png;base64,{picture}">'
    )


def _ids(finding: Finding) -> str:
    return f": {escape(finding.ids)}" if finding.items else ""


def audit_figure(report: Audit) -> Figure:
    """Label counts, prompt lengths, and the difference that n items detect; three panels."""
    from matplotlib.figure import Figure

    bars = _bars(report)
    figure = Figure(figsize=(13, max(3.6, 1 + 0.17 * len(bars))), layout="constrained")
    figure.patch.set_facecolor("white")
    labels, lengths, power = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1.3 if bars else 0.5, 1, 1]})
    _draw_labels(labels, report, bars)
    _draw_lengths(lengths, report)
    _draw_power(power, report)
    return figure


def _bars(report: Audit) -> list[tuple[str, int, str]]:
    """A name, a count and a color for every label; those with the fewest items where there are many."""
    several = len(report.labels) > 1
    bars = [
        (_short(f"{name}: {label}" if several else label), count, color)
        for (name, counts), color in zip(report.labels.items(), cycle(_COLORS))
        for label, count in counts.items()
    ]
    return bars if len(bars) <= _LABELS_SHOWN else sorted(bars, key=lambda bar: bar[1])[:_LABELS_SHOWN]


def _short(name: str) -> str:
    flat = " ".join(name.split())
    return flat if len(flat) <= _NAME else f"{flat[: _NAME - 1]}…"


def _draw_labels(axis: Axes, report: Audit, bars: list[tuple[str, int, str]]) -> None:
    of = sum(map(len, report.labels.values()))
    axis.set_title(
        f"items by label (the {len(bars)} rarest of {of})" if of > len(bars) else "items by label", fontsize=10
    )
    if not bars:
        axis.text(0.5, 0.5, "no label fields", ha="center", va="center", transform=axis.transAxes, color="#666666")
        axis.set_axis_off()
        return
    names, counts, colors = zip(*bars, strict=True)
    axis.barh(range(len(bars)), counts, color=colors)
    axis.set_yticks(range(len(bars)), names, fontsize=8, parse_math=False)  # a name's $ is no formula
    axis.invert_yaxis()
    axis.set_xlim(0, max(*counts, 1) * 1.05)
    axis.set_xlabel("items")
    _whole_numbers(axis.xaxis)


def _draw_lengths(axis: Axes, report: Audit) -> None:
    series = report.tokens or {"": report.lengths}
    axis.set_title("longest prompt of each item", fontsize=10)
    axis.set_xlabel("tokens, by the model's tokenizer" if report.tokens else "characters")
    axis.set_ylabel("items")
    together = np.concatenate([np.asarray(values) for values in series.values()])
    low, high = together.min(), together.max()
    edges = np.linspace(low, high, 21) if high - low >= 20 else np.arange(low, high + 2) - 0.5
    for color, (name, values) in zip(cycle(_COLORS), series.items()):
        axis.hist(values, bins=edges.tolist(), histtype="step", linewidth=1.6, color=color, label=name or None)
    if report.tokens:
        axis.legend(fontsize=8, frameon=False)
    _whole_numbers(axis.xaxis)
    _whole_numbers(axis.yaxis)


def _whole_numbers(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=7))


def _draw_power(axis: Axes, report: Audit) -> None:
    from matplotlib.ticker import FuncFormatter

    from workbench.power import detectable_difference

    power = report.power
    n = np.geomspace(min(10, power.effective_n), max(4000, 2 * power.n), 60)
    found = np.array([detectable_difference(count, power.discordance, step=power.step) for count in n])
    axis.plot(n, np.where(found < 1, found, np.nan), color=_COLORS[0])  # 1 is none
    if power.detects:
        axis.plot(power.effective_n, power.detectable, "o", color=_COLORS[1], markersize=8)
        axis.annotate(
            f"this set: {power.detectable:.3f}",
            (power.effective_n, power.detectable),
            textcoords="offset points",
            xytext=(8, 4),
            fontsize=8,
        )
    else:
        axis.text(0.04, 0.04, "this set: none", transform=axis.transAxes, fontsize=8)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.margins(y=0.15)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axis.minorticks_off()
    axis.set_yticks([tick for tick in _DIFFERENCES if axis.get_ylim()[0] <= tick <= axis.get_ylim()[1]])
    axis.set_title("detectable difference, 80 % power", fontsize=10)
    axis.set_xlabel("independent items")
    axis.set_ylabel("difference in mean score")
    axis.grid(True, color="#dddddd", linewidth=0.6)
