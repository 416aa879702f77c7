"""Templates: what jinja's own sandbox renders, and an end, soon and in bounds, where that one has none."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from jinja2 import StrictUndefined, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from workbench import templates
from workbench.templates import filled

INPUTS = {"x": "hello", "xs": ["a", "b", "ab"], "big": "a\n" * 5_000, "n": {"deep": [1, {"k": "<v>"}]}, "none": None}
PLAIN = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


@pytest.mark.parametrize(
    "source",
    [
        "nothing to fill in\n",
        "a\r\nb\rc\n",
        "Hi {{ inputs.x }}, {{ inputs['x'] }}!\n\n",
        "{{ inputs.xs|join(', ') }} {{ inputs.xs|map('upper')|join('+') }} {{ ' '.join(inputs.xs) }}",
        "{% for x in inputs.xs %}{{ loop.index }}/{{ loop.length }}. {{ x }}{{ ', ' if not loop.last }}{% endfor %}",
        "{% for k, v in inputs.n|dictsort %}{{ k }}={{ v }}{% endfor %}{% for k in inputs %}{{ k }}{% endfor %}",
        "{% for x in inputs.xs|reverse if x != 'a' %}{{ x }}{% else %}none{% endfor %}",
        "{% for x in inputs.xs recursive %}{{ x }}{% if loop.depth < 3 %}{{ loop(['z']) }}{% endif %}{% endfor %}",
        "{{ inputs.x ~ ' ' ~ 3 ~ inputs.none ~ inputs.xs }}{{ 'a' + 'b' }}{{ [1] + [2] }}",
        "{{ inputs.x|upper|replace('L', 'x')|center(12) }}|{{ inputs.x.replace('l', 'LL', 1) }}",
        "{{ '%s-%03d' % (inputs.x, 3) }} {{ '{} {:>5}'.format(inputs.x, 3) }} {{ '%.2f'|format(3.14159) }}",
        "{{ 2 * 3 + 2 ** 10 - 7 // 2 % 3 }} {{ 'ab' * 3 }} {{ 3 * [0] }} {{ 1 / 4 }} {{ -(1) }}",
        "{{ inputs.n|tojson }} {{ inputs.n|tojson(indent=2) }} {{ inputs.n.deep[1].k|e }} {{ (1, 2) }} {{ {'a': []} }}",
        "{% macro m(a, b=2) %}<{{ a }}{{ b }}>{% endmacro %}{{ m(1) }}{{ m(1, b=5) }}",
        "{% macro f() %}[{{ caller(1) }}]{% endmacro %}{% call(i) f() %}c{{ i }}{% endcall %}",
        "{% set ns = namespace(n=0) %}{% for x in inputs.xs %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        "{% set a, b = 1, [2] %}{{ a }}{{ b }}{% set c %}block {{ inputs.x }}{% endset %}{{ c|trim }}",
        "{% with a = 1, b = (2, 3) %}{{ a }}{{ b }}{% endwith %}{% filter upper %}abc{{ inputs.x }}{% endfilter %}",
        "{% if inputs.x in ['hello'] and not inputs.x == 'a' and 1 < 2 <= 2 %}yes{% else %}no{% endif %}",
        "{{ inputs.nope is defined }} {{ inputs.nope|default('d') }} {{ inputs.none is none }}",
        "{{ inputs.x[1:3] }} {{ inputs.xs[::-1] }} {{ inputs.xs|first }} {{ inputs.xs|last }} {{ inputs.xs|length }}",
        "{{ inputs.xs|batch(2)|list }} {{ inputs.xs|slice(2)|list }} {{ [3, 1]|sort }} {{ [1, 2]|sum }}",
        "{{ inputs.x|truncate(3) }} {{ inputs.x|title }} {{ inputs.x|wordwrap(2) }}{{ inputs.x|indent(2) }}",
        "{% raw %}{{ x }}{% endraw %}{# a comment #}{{- ' ' -}} x {%- if 1 %} y {% endif %}",
        "{% block a %}x{{ inputs.x }}{% endblock %}{{ self.a() }}{{ joiner(',')() }}{{ cycler('a', 'b').next() }}",
        "{{ inputs.big|upper|lower|trim|length }} {{ inputs.big.split('\\n')|length }} {{ inputs.big|list|length }}",
        "{{ dict(a=1, b=inputs.xs) }} {{ inputs.n.items()|list }} {{ inputs.xs|unique|list }} {{ range(3)|list }}",
    ],
)
def test_a_template_says_what_it_says_in_jinjas_own_sandbox(source: str) -> None:
    assert filled(source, INPUTS) == PLAIN.from_string(source).render(inputs=INPUTS)


@pytest.mark.parametrize(
    "source", ["{{ inputs.nope }}", "{{ nope }}", "{{ inputs.x.nope.y }}", "{{ inputs.x", "{% if %}"]
)
def test_what_is_wrong_is_said_as_in_jinjas_own_sandbox(source: str) -> None:
    with pytest.raises(TemplateError) as ours:
        filled(source, INPUTS)
    with pytest.raises(TemplateError) as theirs:
        PLAIN.from_string(source).render(inputs=INPUTS)
    assert (type(ours.value), str(ours.value)) == (type(theirs.value), str(theirs.value))


DOUBLED = "{{% set n = namespace(x={start}) %}}{{% for i in range(90) %}}{{% set n.x = {twice} %}}{{% endfor %}}{use}"
BOMBS = [
    "{{ 'a' * 10 ** 9 }}",
    "{{ 10 ** 9 * 'a' }}",
    "{{ [0] * 10 ** 9 }}",
    "{{ ('a' * 1000000) * 1000000 }}",
    "{{ 10 ** (10 ** 9) }}",
    "{{ 'a'|center(10 ** 9) }}",
    "{{ ['a']|map('center', 10 ** 9)|join }}",
    "{{ 'a'.center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ 'a'.rjust(width=10 ** 9) if 0 else 'a'.rjust(10 ** 9) }}",
    "{{ 'a'.zfill(10 ** 9) }}",
    "{{ '\\t'.expandtabs(10 ** 9) }}",
    "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10 ** 9, 1) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ ('%(a)s' * 1000) % {'a': inputs.big} }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "{{ '{0:{w}}'.format_map({'w': 10 ** 9}) }}",
    "{{ ('{0}' * 1000).format(inputs.big) }}",
    "{{ ['{:9999999999}'.format]|map('string')|list }}{{ '{:9999999999}'.format(1) }}",
    "{{ inputs.big|indent(100000) }}",
    "{{ inputs.big|indent(inputs.big) }}",
    "{{ inputs.big|replace('a', inputs.big) }}",
    "{{ inputs.big|replace('', inputs.big) }}",
    "{{ inputs.big.replace('a', inputs.big) }}",
    "{{ inputs.big|join(inputs.big) }}",
    "{{ inputs.big|map('upper')|join(inputs.big) }}",
    "{{ inputs.big.join(inputs.big) }}",
    "{{ inputs.big.join(inputs.big|map('upper')) }}",
    "{{ inputs.big|wordwrap(1, True, inputs.big) }}",
    "{{ inputs|tojson(indent=10 ** 9) }}",
    "{{ [1]|batch(10 ** 9, 'x')|list }}",
    "{{ [1]|slice(10 ** 9)|list|length }}",
    "{{ 1.5|round(10 ** 9, 'ceil') }}",
    "{{ 'a'.translate({97: inputs.big}) }}",
    "{{ [[1]]|sum(start=[]) }}",
    "{{ inputs.big|striptags }}",
    "{{ inputs.big|urlize }}",
    "{{ lipsum(n=10 ** 6) }}",
    "{{ range(10 ** 9)|list }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ inputs.big }}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ inputs.big }}{% endfor %}{% endset %}",
    "{% for i in range(99999) %}" + "word " * 5000 + "{% endfor %}",
    "{% macro m() %}" + "word " * 5000 + "{% endmacro %}{% for i in range(99999) %}{% set _ = m() %}{% endfor %}",
    "{% for x in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% for i in range(99999) if range(99999)|select|list|length == 0 %}{% endfor %}",
    "{% for i in range(9999) %}{% if inputs.big == inputs.copy %}{% endif %}{% endfor %}",
    "{% for i in range(9999) %}{% if 'b' in inputs.big %}{% endif %}{% endfor %}",
    "{% for i in range(9999) %}{% set x = inputs.big[1:] %}{% endfor %}",
    DOUBLED.format(start="'ab'", twice="n.x ~ n.x", use=""),
    DOUBLED.format(start="'ab'", twice="n.x + n.x", use=""),
    DOUBLED.format(start="3", twice="n.x * n.x", use=""),
    DOUBLED.format(start="['a']", twice="[n.x, n.x]", use="{{ n.x }}"),
    DOUBLED.format(start="['a']", twice="(n.x, n.x)", use="{{ n.x|string|length }}"),
    DOUBLED.format(start="'a'", twice="{'a': n.x, 'b': n.x}", use="{{ n.x|tojson }}"),
    DOUBLED.format(start="'a'", twice="dict(a=n.x, b=n.x)", use="{{ n.x }}"),
    DOUBLED.format(start="'a'", twice="namespace(a=n.x, b=n.x)", use="{{ n.x }}"),
    DOUBLED.format(start="'a'", twice="[n.x, n.x]|list", use="{{ n.x == [1] }}"),
]


@pytest.mark.parametrize("source", BOMBS)
def test_a_template_that_would_take_gigabytes_or_hours_is_ended(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_ALLOWANCE", 200_000)  # a tenth; tracing is slow
    inputs = {**INPUTS, "copy": "".join(list(INPUTS["big"]))}
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises((TemplateError, OverflowError)):
            filled(source, inputs)
        assert time.process_time() - started < 20
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_worst_loop_takes_seconds_at_most() -> None:
    started = time.process_time()
    with pytest.raises(SecurityError):
        filled("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", {})
    assert time.process_time() - started < 5


def test_what_a_template_may_do_grows_with_its_inputs() -> None:
    twice = "{{ inputs.text|upper|replace('A', 'b')|trim }}{{ inputs.text }}"
    text = "a long document " * 500_000
    assert len(filled(twice, {"text": text})) == 2 * len(text) - 1
    with pytest.raises(SecurityError, match="so much that it would not end soon"):
        filled("{% for i in range(40) %}{{ inputs.text }}{% endfor %}", {"text": text})


def test_half_a_character_is_not_written() -> None:
    with pytest.raises(TemplateError, match="half a character"):
        filled("{{ '\\ud83d' }}", {})
    assert filled("{{ inputs.x[:1] }}", {"x": "\U0001f600"}) == "\U0001f600"


@pytest.mark.parametrize("source", ["{{ [1, 2, 3]|random }}", "{{ lipsum() }}"])
def test_a_prompt_is_the_same_every_time(source: str) -> None:
    with pytest.raises(TemplateError):
        filled(source, {})
