"""Figures as people and models write them: brackets, signs in words, fractions, powers, scales; and currencies."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.scorers.amounts import amount, number
from workbench.scorers.currencies import only, same_currency, token_of
from workbench.scorers.figures import figures
from workbench.scorers.latex import without_latex
from workbench.scorers.numeric import meant


def values(text: str) -> list[float | None]:
    """What the figures of a text are; None for one that is not read."""
    return [None if (value := figure.value()) is None else float(value) for figure in figures(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The notice period is thirty (30) days.", [30]),
        ("It is four (4).", [4]),
        ("The answer is forty-two (42).", [42]),
        ("42 (42)", [42, 42]),
        ("see step (3)", [3]),
        ("(30) days", [30]),
        ("(1) First\n(2) Second", [1, 2]),
        ("2(3) = 6", [2, 3, 6]),
        ("Answer: (4)", [4]),
        ("five thousand dollars ($5,000)", [5000]),
        ("EUR five hundred (EUR 500.00)", [500]),
        ("five hundred (500) dollars", [500]),
        # These stand alone, as in accounts.
        ("(4)", [-4]),
        (" **(4)**", [-4]),
        ("(1,200.50)", [-1200.5]),
        ("(5) EUR", [-5]),
        ("EUR (5)", [-5]),
        ("($5,000)", [-5000]),
        ("(1,200.50) incl. VAT", [-1200.5]),
        ("Loss:\n(500)\n", [-500]),
        ("| loss | (500) |", [-500]),
        ("Total: (1,200.50)", [-1200.5]),
        ("Total: EUR (5)", [-5]),
        ("(-5)", [-5]),
        ("(minus 5)", [-5]),
    ],
)
def test_brackets_are_a_minus_only_where_they_stand_alone(text: str, expected: list[float]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("minus 5", [-5]),
        ("Minus 5 degrees", [-5]),
        ("negative 5", [-5]),
        ("moins 5", [-5]),
        ("menos 5", [-5]),
        ("The temperature is minus 5 °C", [-5]),
        ("Es sind minus 5 Grad", [-5]),
        ("It fell from 5 to minus 5.", [5, -5]),
        ("x = minus 5", [-5]),
        ("a value of negative 5", [-5]),
        ("7 minus 5 is 2", [7, 5, 2]),
        ("50 % minus 5", [50, 5]),
        ("12 positive, 3 negative 4 neutral", [12, 3, 4]),
        ("The price minus 5", [None]),
        ("x minus 5", [None]),
        ("five minus 5", [None]),
        ("It's minus 5 degrees", [-5]),
        ("it\u2019s minus 5 degrees", [-5]),
        ("That's minus 5", [-5]),
        ("C\u2019est moins 5", [-5]),
        ("Tom's minus 5", [None]),
        ("a terminus 5", [5]),
        ("– 5", [-5]),
        ("- 5", [-5]),
        ("− 5 apples", [-5]),
        ("- 5 %", [-5]),
        ("- 5 °C", [-5]),
        ("- 5,00 € incl. VAT", [-5]),
        ("Total: – 5", [-5]),
        ("**Total:** - 5", [-5]),
        ("5,00- €", [-5]),
        ("‑5", [-5]),
        ("- 5 apples", [5]),
        ("– 5 apples", [5]),
        ("- 5\n- 6", [5, 6]),
        ("Found:\n- 5 apples", [5]),
        ("Total - 5", [5]),
        ("INV‑7", []),
        ("10-€20", [10, 20]),
    ],
)
def test_a_minus_is_told_from_a_bullet_and_from_a_difference(text: str, expected: list[float | None]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/2", [0.5]),
        ("84 / 2", [42]),
        ("1⁄2", [0.5]),
        ("½", [0.5]),
        ("2½", [2.5]),
        ("-2½ %", [-2.5]),
        ("2 ¾", [2.75]),
        ("2 1/2", [2.5]),
        (r"\frac{1}{2}", [0.5]),
        (r"$-\dfrac{1}{2}$", [-0.5]),
        (r"2\frac12", [2.5]),
        ("0.5/2", [0.25]),
        ("1/0", [1, 0]),
        ("3/14/2026", [3, 14, 2026]),
        ("Invoice 26/0091", [26, 91]),
        ("SSL/25-26/318", [25, 26, 318]),
        ("18418/102/T0262", [18418, 102]),
        ("Jalan SS 6/5B", [6, 5e9]),
        ("pesos 00/100", [0, 100]),
        ("tel. 7765076 / 7765987", [7765076, 7765987]),
        ("2024 1/2", [2024, 0.5]),
        ("$10/2 people", [10, 2]),
        ("12/kg", [12]),
        ("4.2 × 10^1", [42]),
        ("4.2x10⁶", [4.2e6]),
        ("4.2 * 10**3", [4200]),
        (r"4.2 \times 10^{-3}", [0.0042]),
        ("$10^6$", [1e6]),
        ("10⁻³", [0.001]),
        ("10^−3", [0.001]),
        ("6 × 10 = 60", [6, 10, 60]),
        ("2^10 = 1024", [None, 1024]),
        ("10^n", [None]),
        ("10^2.5", [None, 5]),
        ("3²", [None]),
        ("x^2 = 9", [9]),
        ("x^{-2} = 9", [9]),
        ("√2", []),
        (r"\sqrt{2}", []),
        (r"5^\circ", [5]),
        ("5 km²", [5]),
        ("**10**", [10]),
        ("$12{,}345$", [12345]),
        (r"12\,345", [12345]),
        (r"12,\!345", [12345]),
        (r"\(42\)", [42]),
        (r"\$1{,}234.00", [1234]),
        (r"50\%", [50]),
        (r"12.00 \text{ EUR}", [12]),
        ("1_000_000", [1000000]),
        ("_42_", [42]),
        ("x_5", []),
        ("100\n200", [100, 200]),
        ("1\t234", [1, 234]),
    ],
)
def test_fractions_powers_and_latex(text: str, expected: list[float | None]) -> None:
    assert values(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1.5M", 1.5e6),
        ("1.5M", 1.5e6),
        ("1.5B", 1.5e9),
        ("$1.5m", 1.5e6),
        ("5m EUR", 5e6),
        ("5 M€", 5e6),
        ("5 MEUR", 5e6),
        ("5 TEUR", 5000),
        ("5 kEUR", 5000),
        ("$2 MM", 2e6),
        ("$1.5T", 1.5e12),
        ("2,5 Millionen", 2.5e6),
        ("2.5 millones", 2.5e6),
        ("2 milliards d'euros", 2e9),
        ("3 Milliarden", 3e9),
        ("1,5 Mio. €", 1.5e6),
        ("5 mil millones", 5e9),
        ("3 hundred thousand", 3e5),
        ("2 lakh", 2e5),
        ("5m", 5),
        ("5 M", 5),
        ("5 T", 5),
        ("5 mm", 5),
        ("5MB", 5),
        ("5MW", 5),
        ("5 millionaires", 5),
        ("5 thousandths", 5),
        ("5 mil", None),
    ],
)
def test_scales(text: str, expected: float | None) -> None:
    assert number(text) == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["{:,}", "{}", "$ {:,}$", r"\({:,}\)", r"\text{{{:,}}}", "{:_}"]))
def test_a_figure_is_the_same_in_markup_and_in_brackets_behind_words(value: int, written: str) -> None:
    assert values(written.format(value)) == [value]
    assert values(f"so many ({value:,})") == [value]
    assert values(f"({value:,})") == [-value]
    assert values(f"{value:,}".replace(",", "{,}")) == [value]


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,-−–()/^×½$\\{}frac textM minus\n²⁻\U00016130", max_size=30) | st.text(max_size=30))
def test_no_text_is_a_crash(text: str) -> None:
    read = [figure.value() for figure in figures(text)]
    assert all(value is None or value.is_finite() for value in read)
    found = meant(text, "last")
    assert found is None or found.value() is not None


N = 100_000
LONG = ["_" * N + "1", "1^" * N, r"\frac{" * N, r"\text{" + "a" * N, "$" * N, "minus 5 " * (N // 8), "1/" * N, "½" * N]
LONG += ["1 " * N + "answer: " * N, "answer is" + " " * N + "not", "answer:x. \n" * (N // 10) + "1 " * N]
LONG += [
    "1-" + " " * N + "x",
    "#### \n" * N,
    "1. 5\n" * N,
    r"\boxed{1" * (N // 8),
    "(5) " * N,
    "1 million " * (N // 10),
]


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG, ids=lambda text: repr(text[:12]))
def test_a_long_text_takes_no_time_by_the_square(text: str) -> None:
    started = time.process_time()
    meant(text)
    assert time.process_time() - started < 20  # some seconds at most


# The number that a text means


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("Step 1: 6 x 7 = 42. Answer: 42", 42, 42),
        ("6 × 7 = 42\n\nAnswer: 42", 42, 42),
        ("**Answer: 42**\n\nCheck: 42/7 = 6", 42, 42),
        ("Answer: 42\n\nNote: we rounded to 2 decimals.", 42, 42),
        ("The answer is 42. Let me know if you need 1 more!", 42, 42),
        ("The answer is 42 (6 times 7).", 42, 42),
        ("The answer is 41. Wait: the answer is 42.", 42, 42),
        ("Answer: 41\nNo, 3 are missing.\nAnswer: 42", 42, 42),
        ("6 apples and 7.\n**Answer:**\n\n**42**\n\nBecause of 3 more", 42, 42),
        ("Er hat 6 und 7. Die Antwort ist 42.", 42, 42),
        (r"Thus we get $\boxed{42}$ (see step 3)", 42, 42),
        ("6*7\n#### 42\n", 42, 42),
        ("Answer: between 4 and 6", 4, 6),
        ("3 of them.\nAnswer:\nThe total is\n42", 42, 42),
        # Nothing is announced, or no number.
        ("first 3, then 4", 3, 4),
        ("3 or 4. The answer is unclear.", 3, 4),
        ("If the answer is 5, we have 3.", 5, 3),
        ("It is 3. The answer is not 4 of 5.", 3, 5),
        ("It is 3. A wrong answer is 4.", 3, 4),
        ("We have 3. Answers: 4 of 5", 3, 5),
        ("#### 1. First\nso 42", 1, 42),
        ("#### Step 2\nso 42", 2, 42),
        # Numbers of a list are none that it means.
        ("1. 42", 42, 42),
        ("1) $42", 42, 42),
        ("1. Take 6\n2. Take 7", 6, 7),
        ("5. That is all", 5, 5),
        ("42.\nBecause", 42, 42),
        ("1. Because of 3 more", 1, 3),
        ("2.5", 2.5, 2.5),
        ("no number", None, None),
        ("", None, None),
    ],
)
def test_the_number_that_a_text_means(text: str, first: float | None, last: float | None) -> None:
    found = [meant(text, "first"), meant(text, "last")]
    assert [None if each is None else float(each.value() or 0) for each in found] == [first, last]


# Currencies


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("12 pounds", "pound"),
        ("12 Dollars", "$"),
        ("12 U.S. dollars", "USD"),
        ("12-dollar fee", "$"),
        ("12 canadian dollars", "CAD"),
        ("12 yen", "JPY"),
        ("12 Swiss francs", "CHF"),
        ("12 Schweizer Franken", "CHF"),
        ("12 francs", "franc"),
        ("12 kr", "krone"),
        ("kr 1 200", "krone"),
        ("12 kr (SEK)", "SEK"),
        ("Rs. 500", "rupee"),
        ("¥100", "¥"),
        ("12 EUROS", "EUR"),
        ("12 zł", "PLN"),
        ("$12 dollars", "$"),
        ("twelve pounds (12)", "pound"),
        ("12 poundings", None),
        ("12 francophones", None),
    ],
)
def test_a_currency_is_named_in_words(text: str, currency: str | None) -> None:
    found = amount(text)
    assert found is not None and found[1] == currency


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("pound", "GBP", True),
        ("pound", "EGP", True),
        ("pound", "EUR", False),
        ("$", "EUR", False),
        ("$", "peso", True),
        ("krone", "SEK", True),
        ("krone", "EUR", False),
        ("¥", "JPY", True),
        ("¥", "CNY", True),
        ("¥", "USD", False),
        ("franc", "CHF", True),
        ("EUR", None, True),
        (None, None, True),
    ],
)
def test_currencies_that_may_be_the_same(one: str | None, other: str | None, same: bool) -> None:
    assert same_currency(one, other) is same_currency(other, one) is same


def test_the_only_currency_of_several_names() -> None:
    assert only(["USD", "$"]) == "USD"
    assert only(["EUR", "USD"]) is None
    assert only(["EUR", "USD"], "$") == "USD"
    assert only(["EUR"], "$") == "$"
    assert token_of("Dollars") == "$" and token_of("dollarz") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("99 cents", "0.99"),
        ("12 dollars and 50 cents", "12.50"),
        ("-$12 and 50 cents", "-12.50"),
        ("50 ¢ each", "0.50"),
    ],
)
def test_cents_are_hundredths(text: str, expected: str) -> None:
    found = amount(text)
    assert found is not None and found[0] == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 €, 50 Cent", "20.50"),
        ("20 €, 50 Cent.", "20.50"),
        ("12 dollars, 50 cents", "12.50"),
        ("**12 dollars, 50 cents**", "12.50"),
        ("12 dollars and 50 cents a piece", "12.50"),
        ("12 dollars 50 cents a piece", "12.50"),
        ("20 €, 50 Cent Pfand", "20"),
        ("20 €, 50 Cent (Pfand)", "20"),
        ("20 €, 50 Cent, 3 kg", "20"),
    ],
)
def test_cents_behind_a_comma_may_be_of_something_else(text: str, expected: str) -> None:
    found = amount(text)
    assert found is not None and found[0] == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$20 T-shirt", 20),
        ("USD 20 T-shirt", 20),
        ("$20 K-pop CD", 20),
        ("€20 M-Size", 20),
        ("$20 b/c of tax", 20),
        ("EUR 20 k. A.", 20),
        ("$400.00 M.N.", 400),
        ("$20 K. Smith", 20),
        ("$20 K. Smith, Lima", 20),
        ("$20 Thai", 20),
        # These scale.
        ("$20 K", 20_000),
        ("$20 K.", 20_000),
        ("EUR 20 k, net", 20_000),
        ("$2 M - net", 2_000_000),
        ("$2 M. It grew by half", 2_000_000),
        ("€20 k/month", 20_000),
        ("$20K-a-month", 20_000),
        ("$2M.N", 2_000_000),
        ("$2 MM", 2_000_000),
        ("5 k€-Grenze", 5_000),
    ],
)
def test_a_letter_behind_a_space_scales_no_amount_where_it_begins_a_word(text: str, expected: int) -> None:
    found = amount(text)
    assert found is not None and found[0] == expected


def test_a_fraction_is_no_amount() -> None:
    assert amount("1/2") is None
    assert amount("Invoice 12/2026: 100") == (Decimal(100), None)
    assert number("1/2") is None


def test_latex_is_taken_out() -> None:
    assert without_latex(r"$\frac{1}{2}$ of \$5, 12{,}345") == "1/2 of $5, 12,345"
    assert without_latex("$5 or 6$") == "$5 or 6$"
