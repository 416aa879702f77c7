"""An audit as a page: the verdict, findings, figures, and three plots. All text is escaped.

audit_html(report)
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from workbench.views.figures import png
from workbench.views.tables import page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.audit import Audit

_LEVELS = {"error": "✗ error", "warning": "! warning", "note": "· note"}
_LABELS_SHOWN = 24


def audit_html(report: Audit) -> str:
    """An audit as HTML."""
    verdict = "clean" if report.clean else f"{len(report.faults)} findings"
    rows = "".join(
        f"<tr><td class=t>{_LEVELS[finding.level]}</td><td class=t>{escape(finding.check)}</td>"
        f"<td class=w>{escape(finding.what)}{_ids(finding.items)}</td><td class=w>{escape(finding.mend)}</td></tr>"
        for finding in report.findings
    )
    head = "<tr><th class=t></th><th class=t>check</th><th class=t>what</th><th class=t>mend</th></tr>"
    facts = "".join(f"<tr><td class=w>{escape(line)}</td></tr>" for line in report.facts())
    rest = "".join(f"<tr><td class=w>not checked: {escape(line)}</td></tr>" for line in report.not_checked)
    picture = base64.b64encode(png(audit_figure(report))).decode()
    return page(
        f"<table><caption>{escape(report.name)}: {verdict}</caption>{facts}{rest}</table>"
        f"{f'<table>{head}{rows}</table>' if report.findings else ''}"
        f'<img alt="labels, lengths and detectable differences" src="data:image/png;base64,{picture}">'
    )


def _ids(items: tuple[str, ...]) -> str:
    from workbench.audit.report import shown_ids

    return escape(shown_ids(items))


def audit_figure(report: Audit) -> Figure:
    """Label counts, prompt lengths, and the difference that n items detect; three panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), layout="constrained")
    figure.patch.set_facecolor("white")
    labels, lengths, power = figure.subplots(1, 3, gridspec_kw={"width_ratios": [1.3, 1, 1]})
    _draw_labels(labels, report)
    _draw_lengths(lengths, report)
    _draw_power(power, report)
    return figure


def _draw_labels(axis: Axes, report: Audit) -> None:
    bars = [(f"{name}: {label}", count) for name, counts in report.labels.items() for label, count in counts.items()]
    axis.set_title("items by label", fontsize=10)
    if not bars:
        axis.text(0.5, 0.5, "no label fields", ha="center", va="center", transform=axis.transAxes, color="#666666")
        axis.set_axis_off()
        return
    if len(bars) > _LABELS_SHOWN:
        bars = sorted(bars, key=lambda bar: -bar[1])[:_LABELS_SHOWN]
        axis.set_title(f"items by label (the {_LABELS_SHOWN} most frequent)", fontsize=10)
    names, counts = zip(*bars, strict=True)
    axis.barh(range(len(bars)), counts, color="#0072B2")
    axis.set_yticks(range(len(bars)), names, fontsize=7 if len(bars) > 12 else 8)
    axis.invert_yaxis()
    axis.set_xlabel("items")


def _draw_lengths(axis: Axes, report: Audit) -> None:
    series = report.tokens or {"": report.lengths}
    axis.set_title("longest prompt of each item", fontsize=10)
    axis.set_xlabel("tokens, by the model's tokenizer" if report.tokens else "characters")
    axis.set_ylabel("items")
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(values) for values in series.values()]), bins=20)
    for color, (name, values) in zip(["#0072B2", "#D55E00", "#009E73", "#CC79A7"], series.items(), strict=False):
        axis.hist(values, bins=edges.tolist(), histtype="step", linewidth=1.6, color=color, label=name or None)
    if report.tokens:
        axis.legend(fontsize=8, frameon=False)


def _draw_power(axis: Axes, report: Audit) -> None:
    from workbench.audit.power import detectable_difference

    n = np.geomspace(10, max(4000, 2 * report.power.n), 60)
    axis.plot(n, [detectable_difference(count, report.power.discordance) for count in n], color="#0072B2")
    axis.plot(report.power.effective_n, report.power.detectable, "o", color="#D55E00", markersize=8)
    axis.annotate(
        f"this set: {report.power.detectable:.3f}",
        (report.power.effective_n, report.power.detectable),
        textcoords="offset points",
        xytext=(8, 8),
        fontsize=8,
    )
    axis.set_xscale("log")
    axis.set_yscale("log")
    from matplotlib.ticker import FuncFormatter

    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.minorticks_off()
    axis.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5])
    axis.set_title("detectable difference, 80 % power", fontsize=10)
    axis.set_xlabel("independent items")
    axis.set_ylabel("difference in mean score")
    axis.grid(True, color="#dddddd", linewidth=0.6)
