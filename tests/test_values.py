"""Values as people write them: numbers, money, dates, labels; and lists of these, paired without regard to order."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.scorers import amounts, values
from workbench.scorers.amounts import amount, figures, number
from workbench.scorers.values import Counts, FieldSpec, compared, days, matched, plain, similarity

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        (-2.5, -2.5),
        ("5", 5),
        (" 5 ", 5),
        ("1,234.5", 1234.5),
        ("1.234,5", 1234.5),
        ("1,234", 1234),
        ("1.234", 1.234),
        ("1,234,567", 1234567),
        ("1.234.567", 1234567),
        ("1 234 567,8", 1234567.8),
        ("1\u202f234", 1234),
        ("1'234.567", 1234.567),
        ("12,5", 12.5),
        ("0,125", 0.125),
        ("1234,567", 1234.567),
        ("1e3", 1000),
        ("1.5e-3 m", 0.0015),
        ("-5", -5),
        ("−5", -5),
        ("x = -5", -5),
        (".5", 0.5),
        ("50 %", 50),
        ("12 pieces", 12),
        ("5kg", 5),
        ("3 m2", 3),
        ("about 1.5 million", 1500000),
        ("10k", 10000),
        ("EUR 1.020", 1020),
        ("١٢", 12),
    ],
)
def test_a_number_is_read(value: Any, expected: float) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [5],
        {"a": 5},
        INFINITE,
        -INFINITE,
        float("nan"),
        10**400,
        "",
        "five",
        "inf",
        "NaN",
        "1e400",
        "²",
        "\U00016130",
        "1/2",
        "3-5",
        "3 or 5",
        "12 of 14",
        "2026-03-14",
        "1.2.3",
        "1,2,3",
        "1,23.5",
        "A5",
        "INV-5",
        "9" * 400,
    ],
)
def test_what_is_no_number_is_none(value: Any) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    ("value", "expected", "currency"),
    [
        ("1.020,00 €", "1020.00", "EUR"),
        ("1020.00 EUR", "1020.00", "EUR"),
        ("1.020 EUR", "1020", "EUR"),
        ("1,020", "1020", None),
        ("1 020,5", "1020.5", None),
        ("1.02", "1.02", None),
        ("0.125", "0.125", None),
        ("1234.567", "1234.567", None),
        ("1,23,456.00 INR", "123456.00", "INR"),
        ("EUR 12.00 incl. VAT", "12.00", "EUR"),
        ("12.00 incl. VAT", "12.00", None),
        ("12.00 EUR incl. 19 % VAT", "12.00", "EUR"),
        ("19 % of 50", "50", None),
        ("The grand total, all taxes and fees included, comes to EUR 1,234.56", "1234.56", "EUR"),
        ("12 months for 100 EUR", "100", "EUR"),
        ("EUR/USD: 5", "5", None),
        ("Total (EUR): 5", "5", "EUR"),
        ("$5", "5", "$"),
        ("5 $ (CAD)", "5", "CAD"),
        ("$5 CAD", "5", "CAD"),
        ("Total ($): 5", "5", "$"),
        ("USD ($): 5", "5", "USD"),
        ("EUR/USD: $5", "5", "USD"),
        ("$5, that is EUR 4", "5", "$"),
        ("US$ 5", "5", "USD"),
        ("USD $5", "5", "USD"),
        ("CA$5.00", "5.00", "CAD"),
        ("RM5", "5", "MYR"),
        ("Fr. 5.-", "5", "CHF"),
        ("5,-", "5", None),
        ("5 zł", "5", "PLN"),
        ("5 euros", "5", "EUR"),
        ("usd 5", "5", "USD"),
        ("$1.5 million", "1500000", "$"),
        ("-5", "-5", None),
        ("- 5,00 €", "-5.00", "EUR"),
        ("−5", "-5", None),
        ("€-5", "-5", "EUR"),
        ("-€5", "-5", "EUR"),
        ("$ -1,000", "-1000", "$"),
        ("(1,200.50)", "-1200.50", None),
        ("EUR (5)", "-5", "EUR"),
        ("5-", "-5", None),
        ("Total: -5", "-5", None),
        ("Total - 5 EUR", "5", "EUR"),
        ("INV-7 over 5 EUR", "5", "EUR"),
        ("(EUR) 5", "5", "EUR"),
        ("12 EUR - paid", "12", "EUR"),
        (5, "5", None),
        (0.125, "0.125", None),
        (1234.567, "1234.567", None),
        (1e22, "1e22", None),
        (10**400, "1e400", None),
    ],
)
def test_an_amount_is_read(value: Any, expected: str, currency: str | None) -> None:
    assert amount(value) == (Decimal(expected), currency)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [5],
        {},
        INFINITE,
        float("nan"),
        "",
        "free",
        "feel free to ask",
        "19 %",
        "EUR",
        "3.5.2",
        "A5",
        "10-20 EUR",
        "10 to 20 EUR",
        "10 EUR – 20 EUR",
        "2026-03-14",
        "9" * 50,
        "one euro",
    ],
)
def test_what_is_no_amount_is_none(value: Any) -> None:
    assert amount(value) is None


def test_a_long_text_is_not_cut_within_a_figure() -> None:
    assert amount("word " * 39 + "1234 EUR") is None  # it would be 1234, cut: 1
    assert amount("word " * 36 + "1234 EUR, and so on and on") == (Decimal(1234), "EUR")


@settings(max_examples=300, deadline=None)
@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["{:,.2f}", "EUR {:,.2f}", "{:,.2f} EUR incl. VAT"]))
def test_every_amount_is_read_back_in_both_conventions(value: Decimal, written: str) -> None:
    english = written.format(value)
    german = english.replace(",", "_").replace(".", ",", 1 if "VAT" not in english else -1).replace("_", ".")
    for text in (english, german.replace("incl,", "incl.")):
        read = amount(text)
        assert read is not None and read[0] == value, text


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_every_number_is_read_back(value: float) -> None:
    assert number(value) == number(str(value)) == value
    assert number(f"about {value} kg") == pytest.approx(value, rel=1e-15) or "e" in str(value)


@settings(max_examples=500, deadline=None)
@given(st.text("0123456789.,-−()€$ EURkt%e'\u202f:x\n\ud800²", max_size=30) | st.text(max_size=30))
def test_no_text_is_a_crash(text: str) -> None:
    read = amount(text)
    assert read is None or read[0].is_finite()
    found = number(text)
    assert found is None or abs(found) < INFINITE
    assert all(figure.value() is None or figure.value().is_finite() for figure in figures(text))  # type: ignore[union-attr]
    assert all(isinstance(day, date) for day in days(text))
    assert plain(text) == plain(plain(text))


@pytest.mark.parametrize("text", ["1" * 200_000, "1 " * 100_000, "(" * 200_000, "-" * 200_000, "1." * 100_000])
def test_figures_of_a_long_text_take_no_time_by_the_square(text: str) -> None:
    started = time.process_time()
    assert sum(1 for _ in figures(text)) <= 100_000
    assert time.process_time() - started < 20


MARCH_14 = [date(2026, 3, 14)]
EITHER = [date(2026, 3, 4), date(2026, 4, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-14", MARCH_14),
        (" 2026-03-14. ", MARCH_14),
        ("20260314", MARCH_14),
        ("2026-03-14T23:30:00-08:00", MARCH_14),
        ("2026-03-14 10:00", MARCH_14),
        ("due on 2026-03-14", MARCH_14),
        ("2026-3-14", MARCH_14),
        ("2026/03/14", MARCH_14),
        ("14.03.2026", MARCH_14),
        ("14. 3. 2026", MARCH_14),
        ("03/14/2026", MARCH_14),
        ("14/03/26", MARCH_14),
        ("14-03-2026 10:00", MARCH_14),
        ("March 14, 2026", MARCH_14),
        ("14 March 2026 11:30 PM PST", MARCH_14),
        ("the 14th of March, 2026", MARCH_14),
        ("Saturday, 14 March 2026", MARCH_14),
        ("14 March 2026 (signed)", MARCH_14),
        ("Date: 14 March 2026", MARCH_14),
        ("14-Mar-2026", MARCH_14),
        ("14. März 2026", MARCH_14),
        ("Samstag, den 14. März 2026", MARCH_14),
        ("14 mars 2026", MARCH_14),
        ("le 14 mars 2026", MARCH_14),
        ("14 de marzo de 2026", MARCH_14),
        ("03/04/2026", EITHER),
        ("03/04/26", EITHER),
        ("03/04/2026 10:00", EITHER),
        ("2026-03-04", EITHER[:1]),
        ("14.03.68", [date(2068, 3, 14)]),
        ("14.03.69", [date(1969, 3, 14)]),
        ("14 March 75", [date(1975, 3, 14)]),
        ("29/02/2024", [date(2024, 2, 29)]),
    ],
)
def test_a_date_is_read(text: str, expected: list[date]) -> None:
    assert sorted(days(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "March 2026",
        "14 March",
        "2026",
        "tomorrow",
        "in 5 days",
        "10",
        "1234567890",
        "20261314",
        "0000-00-00",
        "2026-02-30",
        "30/02/2026",
        "29/02/2025",
        "2026-13-01",
        "2026-14-03",
        "14/03/026",
        "14 March 2026 or 15 March 2026",
        "2026-03-14 to 2026-03-20",
        "2026-03-14 or 20 March 2026",
        "None",
        "14 March 2026" + " " * 50 + "x",
    ],
)
def test_what_is_no_date_has_no_day(text: str) -> None:
    assert days(text) == frozenset()


def test_the_order_of_day_and_month_can_be_told() -> None:
    assert days("03/04/2026", True) == {date(2026, 4, 3)}
    assert days("03/04/2026", False) == {date(2026, 3, 4)}
    assert days("03/14/2026", True) == set(MARCH_14)  # there is no month 14


@settings(max_examples=200, deadline=None)
@given(st.dates(date(1969, 1, 1), date(2068, 12, 31)))
def test_every_date_is_read_back(day: date) -> None:
    for form in ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%y", "%d %B %Y", "%B %d, %Y", "%a %d %b %Y"):
        assert day in days(day.strftime(form)), form


def test_reading_dates_and_amounts_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand answers have few different dates: each is read once."""
    read: list[str] = []
    slow = values._named_day
    monkeypatch.setattr(values, "_named_day", lambda text, languages: read.append(text) or slow(text, languages))
    days.cache_clear()
    amounts._amount.cache_clear()
    spec = FieldSpec(type="list", of=FieldSpec(type="date"))
    for _ in range(50):
        compared(spec, ["1 May 2026", "2 May 2026"], ["May 1, 2026"])
        amount("EUR 5")
    assert sorted(read) == ["1 May 2026", "2 May 2026", "May 1, 2026"]
    assert (amounts._amount.cache_info().misses, amounts._amount.cache_info().hits) == (1, 49)


def test_a_text_without_digits_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_named_day", lambda *_: pytest.fail("it was read"))
    assert days("n/a, as the contract does not say") == frozenset()


@pytest.mark.parametrize(
    ("kind", "given_value", "expected", "equal"),
    [
        ("text", " ACME  Ltd. ", "acme ltd", True),
        ("text", "acme", "acme inc", False),
        ("text", ["acme"], "['acme']", False),
        ("text", {"a": 1}, "{'a': 1}", False),
        ("text", "cafe\u0301", "caf\u00e9", True),
        ("text", "STRASSE", "straße", True),
        ("label", "EUR", "eur", True),
        ("label", "EUR", "USD", False),
        ("number", "12.50", 12.5, True),
        ("number", 12.501, 12.5, False),
        ("number", True, 1, False),
        ("number", "twelve", 12, False),
        ("number", INFINITE, 1, False),
        ("number", 10**400, 1, False),
        ("number", 0.1 + 0.2, 0.3, True),
        ("number", 10**15 + 1, 10**15, False),
        ("date", "2026-03-01", "2026-03-01", True),
        ("date", "20260301", "2026-03-01", True),
        ("date", 20260301, "2026-03-01", True),
        ("date", "1. März 2026", "2026-03-01", True),
        ("date", "March 1", "2026-03-01", False),
        ("date", ["2026-03-01"], "2026-03-01", False),
        ("date", True, "2026-03-01", False),
        ("money", "1.020,00 €", "1020 EUR", True),
        ("money", "1.020,00 €", 1020, True),
        ("money", 1020.004, 1020, True),
        ("money", 1020.006, 1020, False),
        ("money", "1020 EUR", "1020 USD", False),
        *(("money", "$12", f"12 {code}", True) for code in ("USD", "CAD", "AUD", "NZD", "MXN", "$")),
        *(("money", "$12", f"12 {code}", False) for code in ("EUR", "GBP", "JPY", "CHF", "BRL", "€")),
        ("money", "$12", "12", True),
        *(("money", said, "5 BRL", True) for said in ("R$ 5", "R$5", "5 R$", "R$ 5,00")),
        ("money", "R$ 5", "$5", False),
        ("money", "US$ 12", "12 CAD", False),
        ("money", "-5", 5, False),
        ("money", ["5"], 5, False),
        ("boolean", True, True, True),
        ("boolean", "true", True, False),
        ("boolean", 1, True, False),
        ("boolean", False, True, False),
    ],
)
def test_values_are_compared_as_their_types(kind: Any, given_value: Any, expected: Any, equal: bool) -> None:
    assert similarity(FieldSpec(type=kind), given_value, expected) == float(equal)


@pytest.mark.parametrize(
    ("settings_of", "given_value", "expected", "equal"),
    [
        ({"type": "number", "tolerance": 0.1}, 1.1, 1.0, True),
        ({"type": "number", "tolerance": 0.1}, 1.11, 1.0, False),
        ({"type": "number", "relative": 0.1}, 110, 100, True),
        ({"type": "number", "relative": 0.1}, 111, 100, False),
        ({"type": "number", "relative": 0.1}, -95, -100, True),
        ({"type": "money", "tolerance": 1}, "6 EUR", "5 EUR", True),
        ({"type": "money", "tolerance": 0}, "5.001", "5", False),
        ({"type": "date", "day_first": True}, "03/04/2026", "2026-04-03", True),
        ({"type": "date", "day_first": False}, "03/04/2026", "2026-04-03", False),
        ({"type": "date", "languages": ["it"]}, "14 marzo 2026", "2026-03-14", True),
        ({"type": "date", "languages": ["en"]}, "14. März 2026", "2026-03-14", False),
        ({"type": "label", "aliases": {"euro": ["EUR", "€"]}}, "eur.", "euro", True),
        ({"type": "label", "aliases": {"euro": ["EUR", "€"]}}, "€", "EUR", True),
        ({"type": "label", "aliases": {"euro": ["EUR", "€"]}}, "USD", "euro", False),
    ],
)
def test_settings_of_a_value(settings_of: dict[str, Any], given_value: Any, expected: Any, equal: bool) -> None:
    assert similarity(FieldSpec(**settings_of), given_value, expected) == float(equal)


@pytest.mark.parametrize(
    ("given_value", "expected", "score"),
    [
        ("low", "low", 1),
        ("LOW.", "low", 1),
        ("normal", "low", 2 / 3),
        ("urgent", "low", 0),
        ("high", "urgent", 2 / 3),
        ("none", "low", 0),
        (None, "low", 0),
        (["low"], "low", 0),
    ],
)
def test_an_ordinal_that_is_near_is_partly_right(given_value: Any, expected: str, score: float) -> None:
    spec = FieldSpec(type="ordinal", levels=["low", "normal", "high", "urgent"])
    assert similarity(spec, given_value, expected) == pytest.approx(score)


def test_levels_come_out_of_the_schema() -> None:
    spec = FieldSpec(type="ordinal").with_schema({"enum": [1, 2, 3, None]})
    assert spec.levels == [1, 2, 3]
    assert similarity(spec, "2", 1) == 0.5
    inner = FieldSpec(type="list", of=FieldSpec(type="object", fields={"level": FieldSpec(type="ordinal")}))
    told = inner.with_schema({"items": {"properties": {"level": {"enum": ["a", "b"]}}}})
    assert told.of is not None and told.of.fields["level"].levels == ["a", "b"]


@pytest.mark.parametrize("schema", [None, {}, True, {"enum": ["one"]}, {"type": "string"}])
def test_an_ordinal_without_levels_is_refused(schema: Any) -> None:
    with pytest.raises(ValueError, match="an ordinal needs its levels in order"):
        FieldSpec(type="ordinal").with_schema(schema)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"type": "list"}, "a list needs 'of'"),
        ({"type": "object"}, "an object needs 'fields'"),
        ({"type": "ordinal", "levels": ["one"]}, "at least 2 items"),
        ({"type": "number", "tolerance": -1}, "greater than or equal to 0"),
        ({"type": "number", "tolerance": INFINITE}, "finite number"),
        ({"type": "date", "languages": ["xx"]}, "'xx' is no language"),
        ({"type": "date", "languages": []}, "is no language"),
        ({"type": "numbr"}, "Input should be 'label', 'text'"),
        ({"type": "text", "tolerence": 1}, "Extra inputs"),
    ],
)
def test_a_broken_spec_is_refused(broken: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FieldSpec(**broken)


def test_aliases_of_what_is_no_class_are_refused() -> None:
    with pytest.raises(ValueError, match=r"aliases are of labels \(red, blue\), and 'green' is none"):
        FieldSpec(type="label", aliases={"green": ["lime"]}).with_schema({"enum": ["red", "blue"]})


# Counts

TEXT = FieldSpec(type="text")
TEXTS = FieldSpec(type="list", of=TEXT)
LINE = FieldSpec(type="object", fields={"sku": TEXT, "units": FieldSpec(type="number")})
LINES = FieldSpec(type="list", of=LINE)


@pytest.mark.parametrize(
    ("spec", "given_value", "expected", "counts"),
    [
        (TEXT, "a", "a", (1, 1, 1)),
        (TEXT, "b", "a", (0, 1, 1)),
        (TEXT, None, "a", (0, 0, 1)),
        (TEXT, "b", None, (0, 1, 0)),
        (TEXT, None, None, (0, 0, 0)),
        (TEXT, "b", ["a", "b"], (1, 1, 1)),
        (TEXT, "c", ["a", "b"], (0, 1, 1)),
        (TEXT, None, ["a", None], (0, 0, 0)),
        (TEXT, "a", ["a", None], (1, 1, 1)),
        (TEXT, "c", ["a", None], (0, 1, 1)),
        (TEXT, ["a"], "a", (0, 1, 1)),
        (TEXTS, ["b", "a"], ["a", "b"], (2, 2, 2)),
        (TEXTS, ["a", "a"], ["a", "b"], (1, 2, 2)),
        (TEXTS, ["a"], ["a", "a"], (1, 1, 2)),
        (TEXTS, [], ["a"], (0, 0, 1)),
        (TEXTS, None, [], (0, 0, 0)),
        (TEXTS, ["a", None], ["a"], (1, 1, 1)),
        (TEXTS, "a", ["a"], (1, 1, 1)),
        (TEXTS, [["a"], {"a": 1}], ["a"], (0, 2, 1)),
        (TEXTS, ["b", "x"], [["a", "b"], "c"], (1, 2, 2)),
        (LINE, {"sku": "a", "units": 2}, {"sku": "a", "units": 3}, (1, 2, 2)),
        (LINE, {"sku": "a", "more": 1}, {"sku": "a", "units": None}, (1, 1, 1)),
        (LINE, None, {"sku": "a", "units": 3}, (0, 0, 2)),
        (LINE, "a", {"sku": "a", "units": 3}, (0, 0, 2)),
        (
            LINES,
            [{"sku": "b", "units": 1}, {"sku": "a", "units": 2}],
            [{"sku": "a", "units": 2}, {"sku": "b"}],
            (3, 4, 3),
        ),
        (LINES, [{"sku": "a"}], [{"sku": ["a", None]}], (1, 1, 1)),
        (LINES, [{}], [{"sku": ["a", None]}], (0, 0, 0)),
        (LINES, [{"sku": "z", "units": 9}], [{"sku": "a", "units": 2}], (0, 2, 2)),
        (FieldSpec(type="list", of=TEXTS), [["a", "b"], ["c"]], [["c"], ["b", "a", "d"]], (3, 3, 4)),
    ],
)
def test_counts_over_leaves(spec: FieldSpec, given_value: Any, expected: Any, counts: tuple[float, int, int]) -> None:
    assert compared(spec, given_value, expected) == Counts(*counts)


def test_a_list_of_dates_is_paired_so_that_most_agree() -> None:
    """03/04 is either day: pairing each with the first that fits would leave one over."""
    spec = FieldSpec(type="list", of=FieldSpec(type="date"))
    assert compared(spec, ["03/04/2026", "2026-03-04"], ["2026-03-04", "2026-04-03"]).right == 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), max_size=4))
def test_matching_is_the_best_of_all_pairings(pairs: list[list[float]]) -> None:
    found = matched(pairs)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == min(len(pairs), 3) * bool(pairs)
    rows = [*pairs, *([[0.0] * 3] * (4 - len(pairs)))]
    best = max(sum(rows[row][column] for column, row in enumerate(order)) for order in permutations(range(4), 3))
    assert sum(pairs[row][column] for row, column in found) == best


_WORDS = st.sampled_from(["a", "b", "c", "A."])


@settings(max_examples=200, deadline=None)
@given(st.lists(_WORDS, max_size=6), st.lists(_WORDS, max_size=6))
def test_texts_are_counted_as_the_matching_would(left: list[str], right: list[str]) -> None:
    """Lists of texts take a short way: several accepted ones in an entry, which are only one, take the long one."""
    long_way = compared(TEXTS, left, [[entry] for entry in right])
    assert compared(TEXTS, left, right) == long_way


_ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | _WORDS
    | st.sampled_from(["1 €", "2026-03-04"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["sku", "units", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)
_LEAF = st.none() | _WORDS | st.lists(st.none() | _WORDS, min_size=1, max_size=3)
_LINE = st.fixed_dictionaries({}, optional={"sku": _LEAF, "units": st.none() | st.integers(0, 3) | st.just([None, 2])})
_KINDS = ["text", "label", "number", "money", "date", "boolean"]


@settings(max_examples=300, deadline=None)
@given(_ANY | st.lists(_LINE, max_size=4), st.lists(_LINE, max_size=4))
def test_f1_is_a_share_whatever_is_given(given_value: Any, expected: list[Any]) -> None:
    counts = compared(LINES, given_value, expected)
    assert 0 <= counts.right <= min(counts.given, counts.expected)
    assert 0 <= counts.f1 <= 1


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_KINDS), _ANY, _ANY)
def test_any_value_is_compared_with_any_other(kind: Any, left: Any, right: Any) -> None:
    spec = FieldSpec(type=kind)
    assert similarity(spec, left, right) in (0, 1)
    assert similarity(spec, left, right) == similarity(spec, right, left) or kind == "boolean" or kind == "number"
    if not isinstance(right, list):
        assert compared(spec, left, right).f1 <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(_LINE, max_size=4), st.randoms())
def test_the_order_of_a_list_does_not_matter(lines: list[Any], chance: Any) -> None:
    first = [{name: value[0] if isinstance(value, list) else value for name, value in line.items()} for line in lines]
    turned = chance.sample(first, len(first))
    assert compared(LINES, turned, lines) == compared(LINES, first, lines)
    assert compared(LINES, turned, lines).f1 == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(_LINE, max_size=3), st.lists(_LINE, max_size=3))
def test_lists_are_paired_so_that_f1_is_best(lines: list[Any], expected: list[Any]) -> None:
    first = [{name: value[0] if isinstance(value, list) else value for name, value in line.items()} for line in lines]
    size = max(len(first), len(expected))
    left, right = [*first, *[None] * (size - len(first))], [*expected, *[None] * (size - len(expected))]
    best = 0.0
    for order in permutations(range(size)):
        pairs = [(left[row], right[column]) for row, column in enumerate(order)]
        apart = [compared(LINE, a, b) for a, b in pairs if compared(LINE, a, b).right]
        apart += [
            each
            for a, b in pairs
            if not compared(LINE, a, b).right
            for each in (Counts(0, compared(LINE, a, None).given, 0), Counts(0, 0, compared(LINE, None, b).expected))
        ]
        best = max(best, sum(apart, start=values.NOTHING).f1)
    assert compared(LINES, first, expected).f1 == pytest.approx(best)


def test_long_lists_are_compared_in_bounded_time_and_nothing_is_overlooked() -> None:
    started = time.process_time()
    numbers = FieldSpec(type="list", of=FieldSpec(type="number"))
    assert compared(numbers, list(range(10_000)), list(range(50))) == Counts(50, 10_000, 50)
    assert compared(TEXTS, [str(n) for n in range(10_000)], [str(n) for n in range(10_000)]).f1 == 1
    over = 2 * values._PAIRS_LOOKED_AT // 50
    assert compared(numbers, [-1] * over, list(range(50))) == Counts(0, over, 50)
    assert time.process_time() - started < 60
