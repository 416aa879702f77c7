"""The audit's report: as text, in a notebook, as figures; all is escaped and no restricted text is in it."""

from __future__ import annotations

import html
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audited import Rows, colors, tickets
from conftest import item, write_evalset

from workbench.audit import Audit, Finding, Fix, audit
from workbench.audit.power import power_of
from workbench.audit.report import in_notebook
from workbench.evalset import load_evalset
from workbench.views.audit import audit_figure, audit_html
from workbench.views.figures import png
from workbench.views.tables import detects

SCRIPT = "<script>alert(1)</script>"
CANARY = "CANARY-8d1f"


def report(n: int = 60, **more: Any) -> Audit:
    made: dict[str, Any] = {"findings": [], "lengths": list(range(100, 100 + n))}
    made["power"] = power_of({str(number): None for number in range(n)})
    return Audit("made", **{**made, **more})


def finding(number: int = 1, **more: Any) -> Finding:
    made: dict[str, Any] = {"check": "duplicates", "level": "warning", "what": "what", "mend": "Mend it"}
    return Finding(**{**made, "items": tuple(f"i{each}" for each in range(number)), **more})


def test_a_finding_names_a_few_of_its_items() -> None:
    assert str(finding(0)) == "warning [duplicates] what. Mend it."
    assert str(finding(2)) == "warning [duplicates] what: i0, i1. Mend it."
    assert str(finding(9)) == "warning [duplicates] what: i0, i1, i2, i3, i4, i5, i6, i7 and 1 more. Mend it."
    groups = (("a", "b"), tuple("cdefghijklmn"))
    assert (
        finding(items=tuple("abcdefghijklmn"), groups=groups).ids == "a ~ b, c ~ d ~ e ~ f ~ g ~ h ~ i ~ j and 4 more"
    )


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [([], "clean"), (["note"], "clean"), (["note", "warning"], "1 finding"), (["error", "warning"], "2 findings")],
)
def test_notes_are_no_faults(levels: list[Any], verdict: str) -> None:
    made = report(findings=[finding(level=level) for level in levels])
    assert made.verdict == verdict and made.clean == (verdict == "clean")
    assert str(made).startswith(f"made: {verdict}\n") and f"made: {verdict}</caption>" in audit_html(made)
    assert all(f"{level} [duplicates]" in str(made) for level in levels)


def test_text_and_page_say_the_same(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.append({**items[3], "id": "x"})

    made = audit(colors(project, plant))
    page = html.unescape(re.sub("<[^>]*>", "\n", made._repr_html_()))
    for line in [*made.facts(), *(each.what for each in made.findings), *(each.mend for each in made.findings)]:
        assert line in str(made) and in_notebook(line) in page
    assert "c-004 ~ x" in page
    assert all(f"not checked: {in_notebook(line)}" in page for line in made.not_checked)


def test_a_notebook_is_told_calls_and_not_options(project: Path) -> None:
    import workbench as wb

    evalset = colors(project, lambda items, train: items.append({**items[3], "id": "x"}))
    made = wb.audit(evalset)
    page = html.unescape(made._repr_html_())
    assert "--" not in re.sub("<style.*?</style>|style='[^']*'", "", page)
    assert "keep one of each (wb.audit.apply_fixes(evalset, report) does)" in page
    assert "name an outcome table (wb.audit(evalset, outcomes))" in page
    assert wb.audit.apply_fixes(evalset, made) == ["items.jsonl: 1 item dropped: x"]  # type: ignore[attr-defined]


def test_errors_stand_before_warnings_and_notes() -> None:
    made = report(findings=[finding(level=level, what=f"a {level}") for level in ("note", "warning", "error")])
    in_page = re.findall("a (?:note|warning|error)", audit_html(made))
    in_text = re.findall("a (?:note|warning|error)", str(made))
    assert in_page == in_text == ["a error", "a warning", "a note"]
    assert [each.level for each in made.findings] == ["note", "warning", "error"]


def test_a_finding_of_several_kinds_names_items_of_each() -> None:
    ids = tuple(f"i{number}" for number in range(12))
    several = finding(12, kinds=(("password", ("i3",)), ("phone number", ids)))
    assert several.ids == "password: i3; phone number: i0, i1, i2, i3, i4, i5, i6, i7 and 4 more"
    made = report(findings=[several])
    assert several.ids in str(made) and several.ids in audit_html(made)
    assert "phone number: i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, i10, i11. Mend it" in made.text(all_ids=True)


def test_everything_is_escaped(project: Path) -> None:
    labels = ["red", f"green{SCRIPT}", "$x^{$ & <b>blue"]
    rows = [
        item(f"i{n}{SCRIPT}", f"the thing of {n * n} and {n}", labels[n % 3], sensitivity="internal") for n in range(30)
    ]
    folder = write_evalset(project, "odd", [*rows, {**rows[4], "id": "a&b"}], output={"labels": [*labels, "pink<i>"]})
    made = audit(load_evalset(folder))
    page = made._repr_html_()
    assert {each.check for each in made.findings} == {"duplicates", "labels"}
    assert "<script" not in page and "<i>" not in page and "<b>" not in page
    assert html.escape(f"i4{SCRIPT} ~ a&b") in page and html.escape(labels[2]) in page
    named = audit_html(report(findings=[finding(check=SCRIPT, what=SCRIPT, mend=SCRIPT)], not_checked=[SCRIPT]))
    assert "<script" not in named and named.count("&lt;script&gt;") == 4


def test_no_text_of_a_restricted_item_is_in_it(project: Path) -> None:
    """With every check that looks at texts finding something in it."""

    def plant(items: Rows, train: Rows) -> None:
        for row in items[:12]:
            row["inputs"]["body"] += f" {CANARY}, tel. 555-0142, {CANARY.lower()}@example.com\nCategory: {CANARY}"
            row["slice"], row["sensitivity"] = {"note": CANARY}, "restricted"
        items.append(
            {**items[0], "id": "x", "expectations": {**items[0]["expectations"], "amount": "7", "note": CANARY}}
        )
        items.append({**items[1], "id": "y", "sensitivity": "internal"})
        items.append({**items[2], "id": "z", "inputs": {"body": f"{items[2]['inputs']['body']}!?", "seen_at": 1}})
        train.append({**items[3], "id": "t"})

    made = audit(tickets(project, plant))
    assert {each.check for each in made.findings} >= {
        *("duplicates", "near duplicates", "contamination", "personal data", "sensitivity")
    }
    stored = str(made) + repr(made) + made._repr_html_() + json.dumps([each.items for each in made.findings])
    assert CANARY not in stored and CANARY.lower() not in stored and "0142" not in stored


ODD: list[dict[str, Any]] = [
    {},
    {"n": 1, "labels": {"label": {"red": 1, "green": 0}}},
    {"n": 1, "lengths": [0]},
    {"labels": {"label": {f"label number {number} " + "very " * 40: number % 5 for number in range(200)}}},
    {"labels": {"label": {"red": 0, "green": 0}}},
    {"labels": {"a": {"red": 3}, "b": {"True": 2, "False": 1}, **{f"f{n}": {"x": n} for n in range(9)}}},
    {"labels": {"label": {"$\\frac{1}$": 3, "a$b$c_d^e": 4, "中文": 5, "\n": 6}}},
    {"tokens": {f"m{number}": [number * 10] * 60 for number in range(9)}},
    {"tokens": {"m": list(range(60)), "_hidden": [7] * 60}},
    {"lengths": [5, 10**7] * 30},
    {"n": 20_000, "lengths": [7] * 20_000},
]


@pytest.mark.parametrize("odd", ODD)
def test_the_figure_renders_for_odd_sets(odd: dict[str, Any]) -> None:
    from matplotlib.image import imread

    page = audit_html(report(**odd))
    assert page.count('src="data:image/png;base64,') == 1
    if "中文" not in str(odd):  # a script that the font does not have warns, and only the page hides that
        picture = imread(io.BytesIO(png(audit_figure(report(**odd)))))
        assert picture.shape[1] == 1430 and picture.shape[0] < 800
        assert 0.02 < np.mean(picture[..., :3] < 0.9) < 0.5  # neither empty nor all ink


def test_the_figure_shows_the_rarest_of_many_labels() -> None:
    labels = {f"l{number}": number for number in range(200)}
    axis = audit_figure(report(labels={"label": labels})).axes[0]
    assert axis.get_title() == "items by label (the 24 rarest of 200)"
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [f"l{number}" for number in range(24)]
    assert [bar.get_width() for bar in axis.patches] == list(range(24))


def test_the_figure_marks_the_set_on_its_curve() -> None:
    made = report(150)
    axis = audit_figure(made).axes[2]
    curve, point = axis.lines
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (150, made.power.detectable)
    at = np.interp(math.log(150), np.log(curve.get_xdata()), np.log(curve.get_ydata()))
    assert math.exp(at) == pytest.approx(made.power.detectable, rel=0.01)
    assert f"this set: {made.power.detectable:.3f}" in {text.get_text() for text in axis.texts}


def test_many_labels_are_shortened_in_the_text() -> None:
    (line,) = [line for line in report(labels={"label": {f"l{n}": 3 for n in range(77)}}).facts() if "l0" in line]
    assert line.endswith("l23 3 and 53 more")


def test_a_fix_is_data() -> None:
    assert finding(fix=Fix(drop=("i0",))).fix == Fix(("i0",), ())


@pytest.mark.slow
def test_twenty_thousand_short_items_take_bounded_time_and_memory(project: Path) -> None:
    import subprocess
    import sys

    from conftest import environment

    rng = np.random.default_rng(0)
    words = np.array(
        [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("x", "lan", "ter", "mo", "sk", "ri")]
    )
    rows = [
        item(str(number), " ".join(words[rng.integers(0, len(words), 14)]), "red green blue".split()[number % 3])
        for number in range(20_000)
    ]
    rows[9_000]["inputs"]["thing"] = rows[17]["inputs"]["thing"] + " x"
    write_evalset(project, "big", rows)
    code = (
        "import json, time\n"
        "from workbench.audit import audit\n"
        "from workbench.evalset import load_evalset\n"
        "evalset = load_evalset('evalsets/big')\n"
        "import sklearn.feature_extraction.text, scipy.sparse.csgraph\n"
        # Not ru_maxrss, which begins with that of the process that started this one.
        "peak = lambda: next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM:'))\n"
        "before, started = peak(), time.process_time()\n"
        "report = audit(evalset)\n"
        "after = peak()\n"
        "print(json.dumps([time.process_time() - started, after - before, [f.items for f in report.findings]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environment(project), capture_output=True, text=True, check=True
    )
    seconds, kib, findings = json.loads(done.stdout)
    assert findings == [["17", "9000"]]
    assert seconds < 60 and kib < 500 << 10


def test_what_detects_no_difference_shows_no_figure() -> None:
    none = replace(report(3).power, effective_n=20.0, detectable=1.0, step=0.9)
    assert report(150).power.detects and not none.detects
    made = report(3, power=none)
    text = "\n".join(made.facts())
    assert "detects no difference: scores that lie between" in text and "1.000" not in text
    axis = audit_figure(made).axes[2]
    assert len(axis.lines) == 1 and {each.get_text() for each in axis.texts} == {"this set: none"}


@pytest.mark.parametrize(("detectable", "shown"), [(0.25, "detects 0.250"), (1.0, ""), (math.nan, "")])
def test_a_leaderboard_shows_no_difference_that_is_none(detectable: float, shown: str) -> None:
    assert detects(pd.Series({"detectable": detectable})) == shown
