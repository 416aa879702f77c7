"""The heat map: what is in a cell, in the figure and in the table."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import planted
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from workbench.errors import InputError
from workbench.views.figures import png
from workbench.views.where import heat, heat_figure, heat_html, heat_pages, matrix

SCRIPT = "<script>alert(1)</script>"


def table(slices: bool = True) -> pd.DataFrame:
    found = planted.outcomes({"a": [1.0, 1.0, 0.0, 1.0], "b": [0.0, 0.0, 0.0, 1.0]})
    if slices:
        found["slice"] = [json.dumps({"kind": SCRIPT if name[-1] in "01" else "plain"}) for name in found["item_id"]]
    return found


def test_cells_hold_the_mean_of_their_items() -> None:
    found = heat(table())
    cells = {(row.slice, row.candidate): (row.score, row.n) for row in found.itertuples()}
    assert cells["", "a"] == (0.75, 4) and cells["", "b"] == (0.25, 4)
    assert cells[f"kind={SCRIPT}", "a"] == (1.0, 2) and cells["kind=plain", "b"] == (0.5, 2)
    assert list(matrix(found).columns) == ["a", "b"]  # the best first
    assert next(label for _, label in matrix(found).index) == ""  # the task before its slices


def test_a_table_without_slices_has_a_row_a_task() -> None:
    assert len(matrix(heat(table(slices=False)))) == 1


def test_slices_that_are_no_objects_are_none() -> None:
    found = table()
    found["slice"] = ["[1]", "text"] * 4
    assert len(matrix(heat(found))) == 1


def test_the_figure_labels_rows_columns_and_colors() -> None:
    figure = heat_figure(heat(table()))
    axis, bar = figure.axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["a", "b"]
    assert axis.get_yticklabels()[0].get_text() == "planted (n = 4)"
    assert "mean score" in bar.get_ylabel()
    assert {text.get_text() for text in axis.texts} >= {"0.75", "0.25"}
    assert png(figure).startswith(b"\x89PNG")


def test_a_large_map_says_what_it_leaves_out() -> None:
    found = planted.outcomes({f"c{n}": [float(n % 2)] * 80 for n in range(30)})
    found["slice"] = [json.dumps({"kind": name}) for name in found["item_id"]]
    figure = heat_figure(heat(found))
    assert "6 more not shown" in figure.axes[0].get_xlabel()
    assert "21 more slices" in figure.axes[0].get_title()


def test_the_page_is_escaped_and_says_intervals() -> None:
    page = heat_html(heat(table()))
    assert SCRIPT not in page and "&lt;script&gt;" in page
    assert page.count("background:rgba(") == 6


def test_a_candidate_that_was_not_asked_leaves_an_empty_cell() -> None:
    found = table()
    found = found[~((found["model"] == "b") & (found["slice"].str.contains("plain")))]
    wide = matrix(heat(found))
    assert np.isnan(wide.loc[("planted", "kind=plain"), "b"])
    assert heat_figure(heat(found)).axes and re.search(r"<td[^>]*></td>", heat_html(heat(found)))


def test_one_task_alone() -> None:
    both = pd.concat([table(), planted.outcomes({"a": [1.0]}, task="other")])
    assert set(heat(both, "other")["task"]) == {"other"}
    with pytest.raises(InputError, match="no outcomes of task 'nothing'"):
        heat(both, "nothing")


def test_names_are_no_formulas_and_are_cut() -> None:
    found = planted.outcomes({"$\\frac{": [1.0, 0.0], "m" * 300: [0.0, 0.0]}, task="$x^$" * 30)
    found["slice"] = json.dumps({"$\\frac{$": "\t\n"})
    figure = heat_figure(heat(found))
    assert png(figure).startswith(b"\x89PNG")
    assert max(len(text.get_text()) for text in figure.axes[0].get_xticklabels()) <= 41


def test_a_name_in_a_script_that_the_font_lacks_is_drawn_without_warnings() -> None:
    assert png(heat_figure(heat(planted.outcomes({"a": [1.0]}, task="タスク")))).startswith(b"\x89PNG")


def test_a_map_of_many_candidates_comes_in_pieces_that_hold_all_of_them() -> None:
    found = heat(planted.outcomes({f"m{n}": [n / 30] * 2 for n in range(30)}))
    pieces = [list(matrix(piece).columns) for piece in heat_pages(found)]
    assert [len(names) for names in pieces] == [24, 6] and pieces[0][0] == "m29" and pieces[1][-1] == "m0"
    assert not any("not shown" in heat_figure(piece).axes[0].get_xlabel() for piece in heat_pages(found))


def test_a_large_map_keeps_every_task() -> None:
    tables = [planted.outcomes({"a": [1.0] * 9}, task=f"t{n:02}") for n in range(20)]
    found = pd.concat(tables)
    found["slice"] = [json.dumps({"kind": name}) for name in found["item_id"]]
    shown = [text.get_text() for text in heat_figure(heat(found)).axes[0].get_yticklabels()]
    assert len(shown) == 60 and sum(text.startswith("t") for text in shown) == 20


def test_values_of_restricted_items_are_in_no_page_and_no_figure() -> None:
    found = table()
    found["sensitivity"] = ["restricted" if name[-1] in "01" else "internal" for name in found["item_id"]]
    told = heat(found)
    assert set(told["slice"]) == {"", "kind=[restricted] 1", "kind=plain"}
    assert "script" not in heat_html(told)


def test_the_colors_are_explained_whole_also_beside_one_row() -> None:
    figure = heat_figure(heat(table(slices=False)))
    FigureCanvasAgg(figure).draw()  # a plain canvas draws nothing, and places nothing
    box = figure.axes[1].yaxis.label.get_window_extent()
    assert box.y0 >= 0 and box.x0 >= 0 and box.y1 <= figure.bbox.height and box.x1 <= figure.bbox.width


@pytest.mark.parametrize("items", [20, 4])
def test_every_number_can_be_read_on_its_color(items: int) -> None:
    scores = {f"c{n:03}": [n / 100] * items for n in range(30, 75, 3)}
    axis = heat_figure(heat(planted.outcomes(scores))).axes[0]
    (image,) = axis.images
    for text in axis.texts:
        column, row = (int(part) for part in text.get_position())
        opacity = float(np.asarray(image.get_alpha())[row, column])
        shade = [opacity * part + 1 - opacity for part in image.to_rgba(image.get_array())[row, column][:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shade]
        ground = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
        ink = 0.0 if text.get_color() == "black" else 1.0
        light, dark = max(ink, ground), min(ink, ground)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, text.get_text()  # WCAG 2, text of any size
