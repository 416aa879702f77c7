"""A quantization report as a page, a figure and text for a terminal. All text is escaped.

quantization_html(report)
"""

from __future__ import annotations

import base64
import math
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.views.figures import png
from workbench.views.tables import page, seconds, usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.quantization import QuantizationReport

_COLORS = {"candidate": "#0072B2", "noise": "#888888"}  # Okabe and Ito's, as in `views.figures`
_BROKE, _FIXED = "#D55E00", "#009E73"
_SLICES = 12
_SLICES_CAPTION = "slices that lose most (exploratory, 95 % each)"

Row = dict[str, Any]


def _known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _cell(row: Row, name: str, form: str) -> str:
    value = row.get(name)
    return format(value, form) if _known(value) else "–"


def _points(row: Row, value: str, lo: str, hi: str) -> str:
    """A difference of shares in points, with its interval."""
    if not _known(row.get(value)):
        return "–"
    signed = [f"{100 * row[name]:+.1f}" for name in (value, lo, hi)]
    return f"{signed[0]} ({signed[1]} to {signed[2]})".replace("-", "−")


def _difference(row: Row) -> str:
    return _points(row, "difference", "lo", "hi")


def _flips(row: Row) -> str:
    if not _known(row.get("flips")):
        return "–"
    return f"−{row['broke']:.0f} +{row['fixed']:.0f} of {row['flips_n']:.0f}"


def _length(row: Row) -> str:
    """How long the answers are against the reference's, with its interval."""
    if not _known(row.get("length_ratio")):
        return "–"
    between = [_cell(row, name, ".2f") for name in ("length_lo", "length_hi")]
    return f"{row['length_ratio']:.2f} ({' to '.join(between)})"


def _megabytes(row: Row, name: str) -> str:
    return f"{row[name] / 1e6:,.0f} MB" if _known(row.get(name)) else "–"


# Heading, and how a row says it.
_CELLS: dict[str, Any] = {
    "n": lambda row: _cell(row, "n", "d"),
    "score": lambda row: _cell(row, "score", ".3f"),
    "difference in points": _difference,
    "right→wrong, wrong→right": _flips,
    "McNemar mid-p": lambda row: "<0.001" if row.get("mcnemar_p", 1.0) < 0.0005 else _cell(row, "mcnemar_p", ".3f"),
    "flips beyond noise, points": lambda row: _points(row, "flips_beyond", "flips_beyond_lo", "flips_beyond_hi"),
    "same answer": lambda row: _cell(row, "same_output", ".0%"),
    "KL, nats a token ≥": lambda row: _cell(row, "kl_nats", ".4f"),
    "same top token": lambda row: _cell(row, "top_token_agreement", ".1%"),
    "format failures": lambda row: _cell(row, "failed_format", ".1%"),
    "format retries": lambda row: _cell(row, "retried", ".1%"),
    "length": _length,
    "cost per accepted": lambda row: usd(row["cost_per_accepted_usd"]),
    "p50": lambda row: seconds(row["latency_p50_s"]),
    "tokens/s": lambda row: _cell(row, "tokens_per_s", ",.0f"),
    "load": lambda row: seconds(row.get("load_s", math.nan)) if _known(row.get("load_s")) else "–",
    "memory": lambda row: _megabytes(row, "memory_bytes"),
    "GPU memory": lambda row: _megabytes(row, "gpu_memory_bytes"),
    "weights": lambda row: _megabytes(row, "weights_bytes"),
}
# What a terminal shows below each other, each narrow enough for it.
_BLOCKS = {
    "score": ["n", "score", "difference in points", "format failures", "format retries", "verdict"],
    "what changed": [
        *("right→wrong, wrong→right", "McNemar mid-p", "flips beyond noise, points", "same answer", "length"),
        *("KL, nats a token ≥", "same top token"),
    ],
    "what it takes": ["cost per accepted", "p50", "tokens/s", "load", "memory", "GPU memory", "weights"],
}
_WORDS = frozenset({"model", "verdict", "task", "candidate", "slice"})  # columns that begin at the left


def _told(row: Row) -> str:
    """What stands beside a row: its verdict, and what else differs."""
    if row["role"] != "candidate":
        return f"the {row['role']} run" if row["role"] == "noise" else "the reference"
    mode = {"another": "; held to another output format", "unknown": "; output format not known"}.get(row["mode"], "")
    setting = "" if row["compares"] == "quantization" else f"; {row['compares']}"
    return f"{row['verdict']}{mode}{setting}"


def _columns(rows: list[Row]) -> list[str]:
    """The headings under which at least one row says something."""
    return [name for name, said in _CELLS.items() if any(said(row) not in ("–", "unknown") for row in rows)]


def _groups(report: QuantizationReport) -> list[tuple[str, list[Row]]]:
    """Captions and rows: over all tasks first."""
    rows: list[Row] = [{str(key): value for key, value in row.items()} for row in report.table.to_dict("records")]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        variant = row["variant"]
        named = row["task"] if variant in (None, "default") or not _known(variant) else f"{row['task']}, {variant}"
        groups.setdefault(named, []).append(row)
    return sorted(
        groups.items(), key=lambda group: group[1][0]["variant"] is not None and _known(group[1][0]["variant"])
    )


def quantization_html(report: QuantizationReport) -> str:
    """The report as HTML: the sentence, the figure, a table a task, notes."""
    tables = []
    for caption, rows in _groups(report):
        columns = _columns(rows)
        head = "".join(f"<th>{escape(name)}</th>" for name in columns)
        body = "".join(
            f"<tr><td class=t>{escape(row['model'])}{_label(row)}</td><td class=t>{escape(_told(row))}</td>"
            f"{''.join(f'<td>{escape(_CELLS[name](row))}</td>' for name in columns)}</tr>"
            for row in rows
        )
        tables.append(
            f"<table><caption>{escape(caption)}</caption><tr><th class=t>model</th><th class=t>verdict</th>{head}</tr>"
            f"{body}</table>"
        )
    notes = "".join(f"<tr><td class=w>{escape(line)}</td></tr>" for line in _notes(report))
    picture = base64.b64encode(png(report.figure())).decode()
    return page(
        f"<p><b>{escape(report.sentence)}</b></p>"
        f'<img alt="score differences and flips of each candidate" src="data:image/png;base64,{picture}">'
        f"{''.join(tables)}{_slices_html(report)}<table><caption>notes</caption>{notes}</table>"
    )


def _label(row: Row) -> str:
    return f" ({escape(row['quantization'])})" if _known(row["quantization"]) else ""


def _notes(report: QuantizationReport) -> list[str]:
    return [
        f"'free': the score is not worse by more than the margin, nor are format failures. Intervals are two-sided "
        f"{report.confidence:.1%}, so that each bound holds at 95 % with all candidates at once; differences are "
        "candidate − reference on the items of both",
        *report.notes,
    ]


def _losing(report: QuantizationReport) -> list[Row]:
    """The slices with the largest losses."""
    found = report.by_slice.sort_values("difference", kind="stable").head(_SLICES)
    found = found[found["difference"] < -5e-4]  # what would be shown as 0.0 is no loss
    return [{str(key): value for key, value in row.items()} for row in found.to_dict("records")]


def _slices_html(report: QuantizationReport) -> str:
    """The slices with the largest losses."""
    losing = _losing(report)
    if not losing:
        return ""
    rows = "".join(
        f"<tr><td class=t>{escape(str(row['task']))}</td><td class=t>{escape(str(row['candidate']))}</td>"
        f"<td class=t>{escape(str(row['slice']))}: {escape(str(row['value']))}</td><td>{row['n']}</td>"
        f"<td>{_difference(row)}</td></tr>"
        for row in losing
    )
    head = "<tr><th class=t>task</th><th class=t>candidate</th><th class=t>slice</th><th>n</th><th>points</th></tr>"
    return f"<table><caption>{_SLICES_CAPTION}</caption>{head}{rows}</table>"


def quantization_text(report: QuantizationReport) -> str:
    """The report for a terminal: of each task the verdicts, what changed in the answers, and what a model takes."""
    lines = [report.sentence, ""]
    for caption, rows in _groups(report):
        told = _columns(rows)
        for about, names in _BLOCKS.items():
            columns = [name for name in names if name in told or name == "verdict"]
            if columns:
                cells = [[row["model"], *(_text_cell(row, name) for name in columns)] for row in rows]
                lines += [f"{caption}, {about}:", *_aligned(["model", *columns], cells), ""]
    return "\n".join([*lines, *_slices_text(report), *(f"note: {line}" for line in _notes(report))])


def _text_cell(row: Row, name: str) -> str:
    return _told(row) if name == "verdict" else str(_CELLS[name](row))


def _aligned(head: list[str], body: list[list[str]]) -> list[str]:
    """A table's lines. A heading takes several where it is wider than what stands below it."""
    wrapped = [
        wrap(name, max(*map(len, name.split()), *(len(line[at]) for line in body))) for at, name in enumerate(head)
    ]
    high = max(map(len, wrapped))
    rows = [*zip(*([""] * (high - len(name)) + name for name in wrapped), strict=True), *body]
    widths = [max(len(line[at]) for line in rows) for at in range(len(head))]
    words = [name in _WORDS for name in head]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in rows
    ]


def _slices_text(report: QuantizationReport) -> list[str]:
    """The slices with the largest losses, for a terminal."""
    losing = _losing(report)
    if not losing:
        return []
    cells = [
        [row["task"], row["candidate"], f"{row['slice']}: {row['value']}", str(row["n"]), _difference(row)]
        for row in losing
    ]
    return [f"{_SLICES_CAPTION}:", *_aligned(["task", "candidate", "slice", "n", "points"], cells), ""]


def quantization_figure(report: QuantizationReport) -> Figure:
    """Each candidate's score difference with its interval against the margin, and its flips beside the noise run's."""
    from matplotlib.figure import Figure

    table = report.headline
    rows: list[Row] = [
        {str(key): value for key, value in row.items()}
        for row in table[table["role"] != "reference"].to_dict("records")
    ]
    figure = Figure(figsize=(11, 1.9 + 0.42 * max(len(rows), 1)), layout="constrained")
    figure.patch.set_facecolor("white")
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_differences(left, rows, report)
    _draw_flips(right, rows)
    single = len(set(table["variant"].fillna(""))) > 1 or len(set(table["task"])) > 1
    names = [_short(row["candidate"] if not single else f"{row['candidate']} ({row['task']})") for row in rows]
    left.set_yticks(range(len(rows)), names, fontsize=9, parse_math=False)
    left.set_ylim(len(rows) - 0.4, -0.6)
    return figure


def _draw_differences(axis: Axes, rows: list[Row], report: QuantizationReport) -> None:
    for place, row in enumerate(rows):
        if not _known(row["difference"]):
            continue
        at, lo, hi = (100 * row[name] for name in ("difference", "lo", "hi"))
        color = _COLORS[row["role"]]
        axis.plot([lo, hi], [place, place], color=color, linewidth=2.2, solid_capstyle="butt")
        told = row["role"] == "candidate" and row["verdict"] != "not compared"
        axis.plot(at, place, "o", color=color, markersize=7, fillstyle="full" if told else "none")
    margins = {row["margin"] for row in rows}
    for margin in margins if len(margins) == 1 else ():
        axis.axvline(-100 * margin, color="#D55E00", linestyle="--", linewidth=1.2)
        axis.text(
            -100 * margin,
            1.01,
            "margin",
            color="#D55E00",
            fontsize=8,
            ha="center",
            transform=axis.get_xaxis_transform(),
        )
    axis.axvline(0, color="#444444", linewidth=0.9)
    axis.grid(True, axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel(
        f"score against {_short(report.reference)}, points ({report.confidence:.0%} interval)", parse_math=False
    )


def _draw_flips(axis: Axes, rows: list[Row]) -> None:
    counts = [
        (100 * row["broke"] / row["flips_n"], 100 * row["fixed"] / row["flips_n"]) if row["flips_n"] else (0, 0)
        for row in rows
    ]
    places = np.arange(len(rows))
    axis.barh(places, [-broke for broke, _ in counts], height=0.55, color=_BROKE, label="right → wrong")
    axis.barh(
        places,
        [fixed for _, fixed in counts],
        height=0.55,
        color=_FIXED,
        label="wrong → right",
        hatch="//",
        edgecolor="white",
    )
    axis.axvline(0, color="#444444", linewidth=0.9)
    reach = max((max(pair) for pair in counts), default=0.0) or 1.0
    axis.set_xlim(-1.15 * reach, 1.15 * reach)
    axis.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
    axis.grid(True, axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel("items that flip, %")
    axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"
