"""The quantization report on planted tables: flips, noise, formats, engines, and what is missing."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest
import stand_ins
from conftest import item, write_evalset, write_models
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench
from workbench.catalog import load_models
from workbench.cli import main
from workbench.client import RETRYABLE
from workbench.errors import InputError
from workbench.evalset import Limits, load_evalsets
from workbench.journal import Attempt
from workbench.outcomes import LOST, OWN
from workbench.outcomes.table import write_outcomes
from workbench.quantization import quantization_report
from workbench.routing.cell import RULES_ABSTAIN
from workbench.runner.desk import DEFINITE

N = 400


def flipped(scores: list[float], broke: int, fixed: int, seed: int = 0) -> list[float]:
    """Scores of which exactly that many ones became zeros, and zeros ones."""
    values, rng = np.array(scores), np.random.default_rng(seed)
    on, off = rng.permutation(np.flatnonzero(values == 1)), rng.permutation(np.flatnonzero(values == 0))
    values[on[:broke]], values[off[:fixed]] = 0, 1
    return list(values)


BF16 = planted.right(0.7, N)
VLLM = "vllm vllm-0.32.0 sha256:"


def table(engine_ids: dict[str, str] | None = None, **candidates: list[float]) -> pd.DataFrame:
    """Outcomes of `bf16` and the candidates, all of one engine unless it is said."""
    found = planted.outcomes({"bf16": BF16[: len(next(iter(candidates.values())))], **candidates})
    found["engine_id"] = [(engine_ids or {}).get(model, f"{VLLM}{model}") for model in found["model"]]
    return found


def row(report: Any, model: str, task: str | None = None) -> pd.Series[Any]:
    rows = report.headline if task is None else report.table[report.table["task"] == task]
    found = rows[rows["model"] == model]
    assert len(found) == 1
    return found.iloc[0]


def test_known_flips_and_difference_are_found() -> None:
    report = quantization_report(table(w4=flipped(BF16, 40, 12)), "bf16")
    found = row(report, "w4")
    assert (found["broke"], found["fixed"], found["flips_n"]) == (40, 12, N)
    assert found["difference"] == pytest.approx((12 - 40) / N)
    assert found["lo"] < found["difference"] < found["hi"] < 0
    assert found["verdict"] == "costs"
    assert "w4 costs 7.0 points" in report.sentence
    assert found["same_accepted"] == pytest.approx(1 - 52 / N)


def test_a_variant_within_the_margin_is_free_and_one_that_cannot_be_told_says_how_many_items_it_takes() -> None:
    many = quantization_report(table(w8=flipped(BF16, 4, 4)), "bf16")
    assert row(many, "w8")["verdict"] == "free"
    assert "w8 is free (at most" in many.sentence
    few = quantization_report(table(w8=flipped(BF16[:30], 1, 1)), "bf16")
    assert row(few, "w8")["verdict"] == "undecided"
    assert "w8 cannot be told on 30 items" in few.sentence and "needs about" in few.sentence


def test_the_same_answers_on_few_items_are_not_called_free() -> None:
    report = quantization_report(table(w8=BF16[:12]), "bf16")
    assert row(report, "w8")["verdict"] == "undecided"
    assert "free" not in report.sentence


def test_the_margin_is_the_eval_sets() -> None:
    outcomes = table(w8=flipped(BF16, 20, 8))
    limits = {"planted": Limits(margin=0.2)}
    assert row(quantization_report(outcomes, "bf16"), "w8")["verdict"] == "costs"
    report = quantization_report(outcomes, "bf16", limits=limits)
    assert row(report, "w8")["verdict"] == "free"
    assert "is free (3.0 points lower, at most" in report.sentence  # lower it is, and that is said


def test_flips_count_beyond_the_noise_only() -> None:
    outcomes = table(
        {"b1": f"{VLLM}bf16"}, b1=flipped(BF16, 20, 20, 1), w8=flipped(BF16, 18, 18, 2), w4=flipped(BF16, 60, 60, 3)
    )
    report = quantization_report(outcomes, "bf16", noise="b1")
    quiet, loud = row(report, "w8"), row(report, "w4")
    assert quiet["flips"] == pytest.approx(36 / N) and quiet["noise_flips"] == pytest.approx(0.1)
    assert quiet["flips_beyond"] == pytest.approx((36 - 40) / N)
    assert quiet["flips_beyond_lo"] < 0
    assert loud["flips_beyond"] == pytest.approx(0.2)
    assert loud["flips_beyond_lo"] > 0
    assert loud["difference"] == 0  # the score alone hides it
    assert "flips 20.0 % of the items beyond the noise" in report.sentence
    assert report.sentence.count("flips") == 1
    assert row(report, "b1")["role"] == "noise" and row(report, "b1")["verdict"] == ""
    assert "b1 " not in report.sentence


def test_without_a_second_run_there_is_no_floor_and_it_is_said() -> None:
    report = quantization_report(table(w4=flipped(BF16, 60, 60)), "bf16")
    assert math.isnan(row(report, "w4")["flips_beyond"])
    assert any("no noise floor" in note for note in report.notes)
    assert "flips" not in report.sentence


def test_repeats_of_the_reference_are_a_floor_too() -> None:
    again = table(w4=flipped(BF16, 60, 60))
    second = again[again["model"] == "bf16"].assign(repeat=1, score=flipped(BF16, 20, 20, 5))
    second["accepted"] = second["score"] > 0.5
    report = quantization_report(pd.concat([again, second]), "bf16")
    assert row(report, "w4")["noise_flips"] == pytest.approx(0.1)
    assert any("two repeats" in note for note in report.notes)


def test_a_noise_run_of_other_weights_is_refused_and_one_at_the_same_batch_size_is_marked() -> None:
    outcomes = table(b1=BF16, w4=BF16)
    with pytest.raises(InputError, match="no noise run of 'bf16'"):
        quantization_report(outcomes, "bf16", noise="b1")
    same = table({"b1": f"{VLLM}bf16"}, b1=BF16, w4=BF16).assign(concurrency=8)
    assert any("may be too low" in note for note in quantization_report(same, "bf16", noise="b1").notes)
    same.loc[same["model"] == "b1", "concurrency"] = 1
    assert not any("may be too low" in note for note in quantization_report(same, "bf16", noise="b1").notes)


def test_across_engines_the_row_says_so() -> None:
    outcomes = table(
        {"q4": "llamacpp xllamacpp-1 sha256:q4", "new": "vllm vllm-0.33.0 sha256:n", "far": "openai http://h/v1 m"},
        q4=BF16,
        new=BF16,
        far=BF16,
        w8=BF16,
    )
    report = quantization_report(outcomes, "bf16")
    told = {model: row(report, model)["compares"] for model in ("q4", "new", "far", "w8")}
    assert told == {
        "q4": "engine + quantization",
        "new": "engine version + quantization",
        "far": "quantization, engines not known",
        "w8": "quantization",
    }
    assert "q4 (engine + quantization) is free" in report.sentence


def catalog(project: Path, **capabilities: list[str]) -> Any:
    entry = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "zone": "local"}
    names = {name: {**entry, "capabilities": found, "quantization": f"Q{name}"} for name, found in capabilities.items()}
    write_models(project, **names)
    return load_models()


def test_what_w8a8_alone_leaves_open_is_told_by_the_weights(project: Path) -> None:
    stored = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    (project / "floats").mkdir()
    (project / "floats" / "config.json").write_text(json.dumps({"quantization_config": stored}))
    entries = {name: {"engine": "vllm", "model": f"./{name}", "quantization": "w8a8"} for name in ("floats", "gone")}
    write_models(project, **entries)
    report = quantization_report(table(floats=BF16, gone=BF16), "bf16", models=load_models())
    assert row(report, "floats")["quantization"] == "w8a8, FP8"
    assert row(report, "gone")["quantization"] == "w8a8"
    assert "(w8a8, FP8)" in report._repr_html_()


def test_a_candidate_that_was_held_to_another_format_gets_no_verdict(project: Path) -> None:
    models = catalog(project, bf16=["json_schema"], w8=["json_schema"], w4=[])
    report = quantization_report(table(w8=BF16, w4=flipped(BF16, 90, 0)), "bf16", models=models)
    assert row(report, "w8")["verdict"] == "free" and row(report, "w8")["quantization"] == "Qw8"
    assert row(report, "w4")["verdict"] == "not compared"
    assert "w4 is not compared (only one of it and the reference was held to a JSON schema)" in report.sentence


def noted(outcomes: pd.DataFrame, **constrained: bool) -> pd.DataFrame:
    """The outcomes with what the run noted on who was held to a JSON schema."""
    outcomes.attrs["engines"] = {model: {"load_s": 1.0, "constrained": held} for model, held in constrained.items()}
    return outcomes


def test_what_the_run_noted_of_schemas_counts_and_not_what_models_yaml_says_today(project: Path) -> None:
    outcomes = noted(table(w8=BF16, w4=BF16, new=BF16), bf16=True, w8=True, w4=False)
    today = catalog(project, bf16=[], w8=["json_schema"], w4=[], new=["json_schema"])
    for models, new in ((None, "unknown"), (today, "same")):
        report = quantization_report(outcomes, "bf16", models=models)
        assert {model: row(report, model)["mode"] for model in ("w8", "w4", "new")} == {
            **{"w8": "same", "w4": "another", "new": new}
        }
        assert row(report, "w4")["verdict"] == "not compared"
        assert any("who of new was held" in note for note in report.notes) == (models is None)


def test_nothing_is_called_free_without_saying_that_the_output_format_is_not_known() -> None:
    unknown = quantization_report(table(w8=BF16), "bf16").sentence
    assert "w8 is free" in unknown and "if both were held to the same output format, which is not known" in unknown
    assert "not known" not in quantization_report(noted(table(w8=BF16), bf16=False, w8=False), "bf16").sentence


@pytest.mark.parametrize(
    ("reference", "quantization", "said"),
    [
        ("w4", None, "w4"),
        ("smollm2-q4_0", None, "q4_0"),
        ("Qwen3-4B-AWQ", None, "AWQ"),
        ("small", "nf4", "nf4"),
        ("small-4bit", None, "4bit"),
        ("small-q4", "F16", None),
        ("mixtral-8x7b-v1", None, None),
        ("smollm2-bf16-b1", None, None),
        ("gpt-4o-fp16", None, None),
    ],
)
def test_a_reference_that_is_itself_quantized_is_told(
    project: Path, reference: str, quantization: str | None, said: str | None
) -> None:
    entry = {"engine": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "zone": "local"}
    models = None
    if quantization is not None:
        write_models(project, **{reference: {**entry, "quantization": quantization}})
        models = load_models()
    outcomes = planted.outcomes({reference: BF16, "other": BF16})
    notes = quantization_report(outcomes, reference, models=models).notes
    told = [note for note in notes if "is itself quantized" in note]
    assert told == [] if said is None else f"{reference} is itself quantized ({said})" in told[0]


def test_the_file_of_a_reference_tells_too_that_it_is_quantized(project: Path) -> None:
    write_models(project, small={"engine": "llamacpp", "model": "models-w4/small.Q8_0.gguf"})
    outcomes = planted.outcomes({"small": BF16, "other": BF16})
    notes = quantization_report(outcomes, "small", models=load_models()).notes
    assert any("small is itself quantized (Q8_0)" in note for note in notes)


def test_where_an_eval_set_has_no_schema_nobody_is_held_to_one(project: Path) -> None:
    write_evalset(project, "planted", [item("1"), item("2", label="green")])
    models = catalog(project, bf16=["json_schema"], w4=[])
    report = quantization_report(table(w4=BF16), "bf16", models=models, limits=load_evalsets("evalsets"))
    assert row(report, "w4")["verdict"] == "free"


def test_more_format_failures_are_no_free_lunch() -> None:
    outcomes = table(w4=BF16)
    broken = (outcomes["model"] == "w4") & (outcomes.groupby("model").cumcount() % 10 == 0)
    outcomes["format_ok"] = ~broken
    report = quantization_report(outcomes, "bf16")
    assert row(report, "w4")["verdict"] == "costs"
    assert row(report, "w4")["format_difference"] == pytest.approx(0.1)
    assert "costs 10.0 % more format failures" in report.sentence


def test_a_reference_that_is_never_right_has_nothing_to_flip_and_it_is_said() -> None:
    outcomes = table(w4=BF16)
    assert not any("none can go" in note for note in quantization_report(outcomes, "bf16").notes)
    outcomes["accepted"] = False
    assert any("none can go from right to wrong" in note for note in quantization_report(outcomes, "bf16").notes)


def test_retries_of_a_wrong_format_are_told_and_lost_connections_are_none() -> None:
    outcomes = table(w4=BF16)
    again = (outcomes["model"] == "w4") & (outcomes.groupby("model").cumcount() % 9 == 0)
    outcomes["attempts"] = 1 + again.astype(int)
    for name, told in ((again, 0.1125), (again & False, 0.0)):
        report = quantization_report(outcomes.assign(format_retries=name.astype(int)), "bf16")
        assert row(report, "w4")["retry_difference"] == pytest.approx(told)
        assert "w4 is free" in report.sentence and ("retries 11.2 % more of the items" in report.sentence) == (told > 0)
        assert not any("retries are not known" in note for note in report.notes)
    # A table that does not tell them apart: several attempts are no retries, and one attempt is none.
    unsure = quantization_report(outcomes, "bf16")
    assert math.isnan(row(unsure, "w4")["retried"]) and "retries" not in unsure.sentence
    assert any("retries are not known" in note for note in unsure.notes)
    once = quantization_report(outcomes.assign(attempts=1), "bf16")
    assert row(once, "w4")["retried"] == 0 and not any("retries are not known" in note for note in once.notes)


def test_a_repeat_whose_retries_are_not_known_makes_the_items_unknown() -> None:
    first = table(w4=BF16).assign(format_retries=0)
    second = first.assign(repeat=1, format_retries=pd.NA)
    assert math.isnan(row(quantization_report(pd.concat([first, second]), "bf16"), "w4")["retried"])


def test_too_few_shared_items_are_no_comparison() -> None:
    outcomes = table(w4=BF16)
    outcomes = outcomes[(outcomes["model"] == "bf16") | (outcomes.groupby("model").cumcount() < 0.8 * N)]
    report = quantization_report(outcomes, "bf16")
    assert row(report, "w4")["coverage"] == pytest.approx(0.8)
    assert "not compared (it shares 320 items with the reference, 80%)" in report.sentence


def test_a_table_with_the_required_columns_only_says_what_is_not_known() -> None:
    bare = table(w4=flipped(BF16, 40, 12))[["task", "item_id", "model", "score"]]
    report = quantization_report(bare, "bf16")
    found = row(report, "w4")
    assert found["verdict"] == "costs"
    for name in ("flips", "mcnemar_p", "same_output", "retried", "length_ratio", "cost_per_accepted_usd", "kl_nats"):
        assert math.isnan(found[name]), name
    assert any("no column accepted" in note for note in report.notes)
    assert any("neither the run nor models.yaml tells who of bf16, w4" in note for note in report.notes)
    free = quantization_report(table(w8=BF16)[["task", "item_id", "model", "score"]], "bf16")
    assert row(free, "w8")["verdict"] == "score only"
    assert "its format failures are not known" in free.sentence
    for each in (report, free):
        assert each.describe() and "<table " in each._repr_html_()


def test_no_answer_is_a_wrong_one_that_breaks_its_format() -> None:
    outcomes = table(w4=BF16)
    gone = (outcomes["model"] == "w4") & (outcomes.groupby("model").cumcount() < 40)
    outcomes.loc[gone, "score"] = math.nan
    for name in ("accepted", "format_ok"):
        outcomes[name] = outcomes[name].astype(object).where(~gone, None)
    found = row(quantization_report(outcomes, "bf16"), "w4")
    assert found["broke"] == sum(BF16[:40]) and found["failed_format"] == pytest.approx(40 / N)


def failing(outcomes: pd.DataFrame, model: str, share: float, error_class: str) -> pd.DataFrame:
    """The outcomes, of which the first of a model are errors."""
    count = (outcomes["model"] == model).sum()
    gone = (outcomes["model"] == model) & (outcomes.groupby("model").cumcount() < round(share * count))
    found = outcomes.assign(error_class=pd.Series(None, outcomes.index, dtype=object).where(~gone, error_class))
    found.loc[gone, "score"] = math.nan
    found.loc[gone, ["accepted", "format_ok"]] = False
    return found


@pytest.mark.parametrize("loser", ["bf16", "w4"])
def test_errors_of_the_server_are_no_answers_and_many_of_them_no_evidence(loser: str) -> None:
    whole = table(w4=flipped(BF16, 56, 0))
    few = quantization_report(failing(whole, loser, 0.08, "server"), "bf16")
    answered = whole[whole.groupby("model").cumcount() >= 32]
    for name in ("n", "difference", "lo", "hi", "broke", "fixed", "failed_format", "format_difference", "verdict"):
        assert row(few, "w4")[name] == row(quantization_report(answered, "bf16"), "w4")[name], name
    assert (row(few, "w4")["lost"], row(few, "w4")["coverage"]) == (32, 0.92)
    assert any(note.startswith(f"{loser}: 32 of 400 outcomes are errors") and "32 server" in note for note in few.notes)
    assert "32 lost to errors are left out" in few.sentence
    many = quantization_report(failing(whole, loser, 0.33, "disconnected"), "bf16")
    assert row(many, "w4")["verdict"] == "not compared"
    assert "it shares 268 items with the reference, 67%; 132 lost to errors are left out" in many.sentence
    none = quantization_report(failing(whole, loser, 1.0, "engine"), "bf16")
    assert row(none, "w4")["verdict"] == "not compared" and row(none, "w4")["n"] == 0
    assert none.describe() and none._repr_html_() and none.by_slice.empty


def test_what_a_model_refuses_is_its_own_and_stays_wrong() -> None:
    report = quantization_report(failing(table(w4=BF16), "w4", 0.1, "context_length"), "bf16")
    assert row(report, "w4")["failed_format"] == pytest.approx(0.1) and row(report, "w4")["lost"] == 0
    assert row(report, "w4")["verdict"] == "costs" and not any("errors" in note for note in report.notes)


def test_answers_that_are_missing_without_a_known_cause_never_make_a_candidate_look_better() -> None:
    gone = failing(table(w4=BF16), "bf16", 1.0, "server").drop(columns="error_class")
    report = quantization_report(gone, "bf16")
    assert row(report, "w4")["verdict"] == "not compared" and "400 without a class" in "".join(report.notes)
    odd = quantization_report(failing(table(w4=BF16), "bf16", 0.3, "APIError"), "bf16")
    assert row(odd, "w4")["verdict"] == "not compared" and "120 APIError" in "".join(odd.notes)
    refused = quantization_report(failing(table(w4=BF16), "bf16", 0.3, "refusal"), "bf16")
    assert row(refused, "w4")["lost"] == 0 and row(refused, "w4")["n"] == N
    own = quantization_report(failing(table(w4=BF16), "w4", 0.3, "APIError"), "bf16")
    assert row(own, "w4")["verdict"] == "costs" and row(own, "w4")["lost"] == 0


def test_a_repeat_that_was_lost_leaves_the_others() -> None:
    outcomes = table(w4=BF16)
    again = failing(outcomes.assign(repeat=1), "w4", 1.0, "timeout")
    found = row(quantization_report(pd.concat([outcomes, again]), "bf16"), "w4")
    assert (found["n"], found["difference"], found["lost"]) == (N, 0, 0)


def test_each_class_of_error_is_the_models_own_or_is_not() -> None:
    assert RETRYABLE <= LOST and {*DEFINITE, RULES_ABSTAIN} == OWN and not LOST & OWN
    told = re.search(r"error_class: None, or (.*?)\n        \w+:", Attempt.__doc__ or "", re.DOTALL)
    assert told is not None
    classes = set(re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", told[1].split(":", 1)[1], flags=re.DOTALL)))
    assert classes == (LOST - {"judge"}) | OWN


def test_a_row_that_stands_there_twice_counts_once_and_two_that_differ_are_an_error() -> None:
    outcomes = table(w4=flipped(BF16, 40, 12))
    twice = quantization_report(pd.concat([outcomes, outcomes]), "bf16")
    assert row(twice, "w4")["n"] == N and row(twice, "w4")["broke"] == 40
    other = outcomes[outcomes["model"] == "w4"].assign(score=0.5)
    with pytest.raises(InputError, match="two different outcomes"):
        quantization_report(pd.concat([outcomes, other]), "bf16")


def test_answers_agree_by_what_they_say_and_lengths_are_compared() -> None:
    outcomes = table(w4=BF16[:8])
    says = {"bf16": ['{"a": 1, "b": 2}', "two  words"] * 4, "w4": ['{"b":2,"a":1}', "two words"] * 3 + ["{", "other"]}
    for model, texts in says.items():
        outcomes.loc[outcomes["model"] == model, "output"] = texts
    found = row(quantization_report(outcomes, "bf16"), "w4")
    assert found["same_output"] == pytest.approx(6 / 8) and found["same_output_n"] == 8
    assert found["length_unit"] == "characters"
    expected = sum(map(len, says["w4"])) / sum(map(len, says["bf16"]))
    assert found["length_ratio"] == pytest.approx(expected) and found["length_lo"] < expected < found["length_hi"]


def test_several_tasks_and_prompts_come_together_by_item_and_a_loss_on_one_task_is_not_hidden() -> None:
    first, second = table(w4=flipped(BF16, 5, 5)), table(w4=flipped(BF16[:100], 10, 0))
    second["task"] = "other"
    prompts = first.assign(variant="terse")
    report = quantization_report(pd.concat([first, second, prompts]), "bf16")
    assert list(report.table["task"].unique()) == ["other", "planted", "all tasks"]
    whole = row(report, "w4")
    assert whole["n"] == N + 100  # a further prompt is no further item
    assert whole["difference"] == pytest.approx(-10 / (N + 100))
    assert math.isnan(whole["mcnemar_p"])  # one item stands there twice
    assert "w4 is free" in report.sentence and "; but on other it costs 10.0 points" in report.sentence
    assert [line.split(":")[0] for line in report.sentences] == ["other", "planted", "planted (terse)"]


def test_clusters_are_units() -> None:
    outcomes = table(w4=flipped(BF16, 40, 12))
    alone = row(quantization_report(outcomes, "bf16"), "w4")
    outcomes["cluster"] = [f"c{int(name.split('-')[1]) // 8}" for name in outcomes["item_id"]]
    together = row(quantization_report(outcomes, "bf16"), "w4")
    assert together["difference"] == pytest.approx(alone["difference"])
    assert together["lo"] != alone["lo"] and math.isnan(together["mcnemar_p"])


def test_by_slice_finds_where_the_damage_is() -> None:
    outcomes = table(w4=flipped(BF16, 60, 0))
    hurt = set(outcomes["item_id"][(outcomes["model"] == "w4")][np.array(BF16) != outcomes["score"].to_numpy()[N:]])
    outcomes["slice"] = [f'{{"language": "{"xx" if name in hurt else "en"}"}}' for name in outcomes["item_id"]]
    report = quantization_report(outcomes, "bf16")
    found = report.by_slice.set_index("value")
    assert found.loc["xx", "difference"] == -1 and found.loc["xx", "broke"] == 60 == found.loc["xx", "n"]
    assert found.loc["en", "difference"] == 0
    assert "language: xx" in report._repr_html_() and "exploratory" in report._repr_html_()


def test_slices_of_restricted_items_are_numbers_in_the_report() -> None:
    outcomes = table(w4=flipped(BF16, 60, 0))
    names = sorted(outcomes["item_id"].unique())
    closed = set(names[::2])
    outcomes["slice"] = [
        json.dumps({"customer": "CANARY-Jane" if name in closed else "shop"}) for name in outcomes["item_id"]
    ]
    outcomes["sensitivity"] = ["restricted" if name in closed else "public" for name in outcomes["item_id"]]
    report = quantization_report(outcomes, "bf16")
    assert set(report.by_slice["value"]) == {"[restricted] 1", "shop"}
    assert "customer: [restricted] 1" in report._repr_html_()
    assert not any("CANARY" in told for told in (report._repr_html_(), report.by_slice.to_html(), report.describe()))


def test_a_number_stands_for_one_slice_whoever_was_asked() -> None:
    outcomes = table(w4=flipped(BF16, 60, 0), w8=BF16)
    names = sorted(outcomes["item_id"].unique())
    customer = {name: f"C{place % 3}" for place, name in enumerate(names)}
    outcomes["slice"] = [json.dumps({"customer": customer[name]}) for name in outcomes["item_id"]]
    outcomes["sensitivity"] = "restricted"
    lacks = (outcomes["model"] == "w4") & (outcomes["item_id"].map(customer) == "C0")
    found = quantization_report(outcomes[~lacks], "bf16").by_slice
    shown = {candidate: set(rows["value"]) for candidate, rows in found.groupby("candidate")}
    assert shown["w8"] == {f"[restricted] {n}" for n in (1, 2, 3)}
    assert shown["w4"] == {"[restricted] 2", "[restricted] 3"}


def test_slices_of_another_tool_may_be_anything() -> None:
    outcomes = table(w4=BF16[:20])
    outcomes["slice"] = [[{"a": 1}, '{"a": [1, 2]}', None, {"b": True}][index % 4] for index in range(len(outcomes))]
    found = quantization_report(outcomes, "bf16").by_slice
    assert {(row.slice, row.value) for row in found.itertuples()} == {("a", "1"), ("a", "[1, 2]"), ("b", "True")}


def test_a_candidate_without_a_shared_item_and_a_reference_alone_are_said() -> None:
    outcomes = table(w4=BF16[:20])
    outcomes.loc[outcomes["model"] == "w4", "item_id"] += "x"
    report = quantization_report(outcomes, "bf16")
    assert "w4 is not compared (it shares 0 items with the reference, 0%)" in report.sentence
    alone = quantization_report(outcomes[outcomes["model"] == "bf16"], "bf16")
    assert "no candidate" in alone.sentence
    for each in (report, alone):
        assert each.describe() and "<img" in each._repr_html_()


def test_a_column_is_told_as_missing_only_where_it_is() -> None:
    def told(outcomes: pd.DataFrame) -> list[str]:
        return [note for note in quantization_report(outcomes, "bf16").notes if "so no " in note]

    outcomes = table(w4=BF16[:20])
    apart = outcomes.assign(item_id=outcomes["item_id"].where(outcomes["model"] != "w4", outcomes["item_id"] + "x"))
    assert told(outcomes) == told(apart) == told(failing(outcomes, "w4", 1.0, "server")) == []
    assert told(outcomes.drop(columns="accepted")) == ["the table has no column accepted, so no flips are known"]
    outcomes["accepted"] = outcomes["accepted"].astype(object).where(outcomes["model"] != "w4", None)
    assert told(outcomes) == ["the table does not tell accepted of both sides, so no flips are known"]


def test_memory_load_time_and_tokens_a_second() -> None:
    outcomes = table(w4=BF16)
    outcomes["output_tokens"] = 50
    outcomes.attrs["engines"] = {
        "w4": {"load_s": 2.5, "busy_s": 10.0, "memory_bytes": 3_000_000_000, "weights_bytes": None}
    }
    found = row(quantization_report(outcomes, "bf16"), "w4")
    assert (found["load_s"], found["memory_bytes"]) == (2.5, 3e9) and math.isnan(found["weights_bytes"])
    assert (
        found["tokens_per_s"] == pytest.approx(50 * N / 10) and found["tokens_per_s_from"] == "the engine's busy time"
    )
    # Two at a time, 0.1 s each, with a pause of a minute in the middle that counts for nobody.
    index = outcomes.groupby("model").cumcount()
    start = pd.Timestamp("2026-01-01T00:00:00Z")
    outcomes["asked_at"] = start + pd.to_timedelta(0.1 * (index // 2) + 60 * (index >= N // 2), unit="s")
    found = row(quantization_report(outcomes, "bf16"), "w4")
    assert found["tokens_per_s_from"] == "time in flight, by the rows"
    assert found["tokens_per_s"] == pytest.approx(50 * N / (0.1 * N / 2), rel=1e-3)


def engines(gpu_memory_bytes: int | None) -> dict[str, dict[str, Any]]:
    took = {"load_s": 2.0, "memory_bytes": 3_000_000_000, "weights_bytes": 270_000_000, "constrained": False}
    return {model: {**took, "gpu_memory_bytes": gpu_memory_bytes} for model in ("bf16", "w4")}


def test_gpu_memory_that_tells_no_variants_apart_points_to_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(engine: str, gpu_memory_bytes: int | None) -> list[str]:
        outcomes = table({"bf16": f"{engine} 1 a", "w4": f"{engine} 1 b"}, w4=BF16)
        outcomes.attrs["engines"] = engines(gpu_memory_bytes)
        return [note for note in quantization_report(outcomes, "bf16").notes if "compare 'weights'" in note]

    (share,) = said("vllm", 22_000_000_000)
    assert "gpu_memory_utilization" in share
    assert said("transformers", 5_000_000_000) == []  # it takes what it needs
    assert said("vllm", None) == []  # a machine without a GPU
    stand_ins.nvidia_smi(tmp_path, monkeypatch, "0, GPU-1, NVIDIA L4, 23034, 22000, 8.9\n")
    (unseen,) = said("vllm", None)
    assert "this machine has a GPU" in unseen and "containers" in unseen


def test_names_are_checked() -> None:
    outcomes = table(w4=BF16)
    for wrong in (
        {"reference": "fp16"},
        {"reference": "bf16", "noise": "b1"},
        {"reference": "bf16", "candidates": "x"},
    ):
        with pytest.raises(InputError, match="there is no model"):
            quantization_report(outcomes, **wrong)
    with pytest.raises(InputError, match="must be different"):
        quantization_report(outcomes, "bf16", candidates=["bf16"])


def test_rules_and_models_that_were_not_named_stay_out() -> None:
    outcomes = table({"rules": "rules rules.yaml abc"}, w4=BF16, w8=BF16, rules=BF16)
    assert set(quantization_report(outcomes, "bf16").table["model"]) == {"bf16", "w4", "w8"}
    assert set(quantization_report(outcomes, "bf16", candidates="w8").table["model"]) == {"bf16", "w8"}


def test_what_a_table_says_is_escaped_and_no_text_of_an_item_is_shown() -> None:
    outcomes = table(**{"<b>w4": flipped(BF16, 40, 2)}).assign(
        output="CANARY", prompt="CANARY", sensitivity="restricted"
    )
    outcomes["slice"] = '{"<i>": "<script>"}'
    report = quantization_report(outcomes, "bf16")
    page = report._repr_html_()
    assert "<b>w4" not in page and "<script>" not in page and "&lt;b&gt;w4" in page
    assert "CANARY" not in page + report.describe() + report.sentence + report.table.to_csv()


def test_the_figure_has_a_place_for_each_candidate_and_the_noise() -> None:
    outcomes = table({"b1": f"{VLLM}bf16"}, b1=flipped(BF16, 3, 3), w4=flipped(BF16, 40, 12))
    left, right = quantization_report(outcomes, "bf16", noise="b1").figure().axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["b1", "w4"]
    assert "points" in left.get_xlabel() and right.get_xlabel() == "items that flip, %"
    widths = sorted(bar.get_width() for bar in right.patches)
    assert widths[0] == pytest.approx(-10) and widths[-1] == pytest.approx(3)


def test_the_command_prints_the_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_outcomes(table(w4=flipped(BF16, 40, 12)), project / "outcomes.parquet")
    assert main(["quantization", str(path), "--reference", "bf16"]) == 0
    assert "w4 costs 7.0 points" in capsys.readouterr().out
    assert main(["quantization", str(path), "--reference", "fp16"]) == 2
    assert "there is no model 'fp16'" in capsys.readouterr().err
    assert main(["quantization", str(path), "--reference", "bf16", "--divergence"]) == 2


def test_the_command_prints_all_that_is_measured_in_tables_that_can_be_read(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = table({"b1": f"{VLLM}bf16"}, b1=flipped(BF16, 3, 3), w4=flipped(BF16, 40, 12))
    outcomes["slice"] = [f'{{"language": "{("de", "en")[n % 2]}"}}' for n in range(len(outcomes))]
    outcomes = outcomes.assign(output="abc", format_retries=0, output_tokens=50)
    outcomes["output"] = outcomes["output"].where(outcomes["model"] != "w4", "abcd")
    path = write_outcomes(outcomes, project / "outcomes.parquet")
    (project / "run.json").write_text(json.dumps({"engines": engines(22_000_000_000)}))
    assert main(["quantization", str(path), "--reference", "bf16", "--noise", "b1"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    tables = "\n".join(line for line in lines if line.startswith("  ") or line.endswith(":"))
    for cell in ("<0.001", "+11.5 (+", "1.33 (1.33 to 1.33)", "0.10 s", "2.00 s", "3,000 MB", "22,000 MB"):
        assert cell in tables, cell
    for word in ("mid-p", "retries", "length", "load", "memory", "weights", "p50", "language: de", "verdict"):
        assert word in tables, word
    assert max(map(len, tables.splitlines())) <= 100


def test_the_command_writes_the_picture_and_the_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_outcomes(table(w4=flipped(BF16, 40, 12)), project / "outcomes.parquet")
    argv = ["quantization", str(path), "--reference", "bf16", "--figure", "q.png", "--html", "pages/q.html"]
    assert main(argv) == 0
    assert "written: q.png" in (out := capsys.readouterr().out) and "written: pages/q.html" in out
    assert (project / "q.png").read_bytes()[:4] == b"\x89PNG"
    page = (project / "pages" / "q.html").read_text()
    assert (
        page.startswith("<!DOCTYPE html>") and "w4 costs 7.0 points" in page and "http" not in page.split("</head>")[1]
    )


def test_it_is_what_the_package_offers() -> None:
    assert workbench.quantization_report is quantization_report


@settings(max_examples=15, deadline=None)
@given(broke=st.integers(0, 30), fixed=st.integers(0, 20), n=st.integers(61, 200), seed=st.integers(0, 99))
def test_a_free_variant_is_never_one_whose_bound_is_beyond_the_margin(
    broke: int, fixed: int, n: int, seed: int
) -> None:
    reference = planted.right(0.6, n)
    outcomes = planted.outcomes({"bf16": reference, "w4": flipped(reference, broke, fixed, seed)})
    report = quantization_report(outcomes, "bf16")
    found = row(report, "w4")
    assert found["difference"] == pytest.approx((fixed - broke) / n)
    assert (found["broke"], found["fixed"]) == (broke, fixed)
    if found["verdict"] == "free":
        assert found["lo"] >= -0.05 and "is free" in report.sentence
    if broke <= fixed:
        assert found["verdict"] != "costs"
    # The other way round the same is found with the sign changed.
    back = row(quantization_report(outcomes, "w4"), "bf16")
    assert (back["broke"], back["fixed"]) == (fixed, broke)
    assert back["lo"] == pytest.approx(-found["hi"], abs=1e-9) and back["hi"] == pytest.approx(-found["lo"], abs=1e-9)
