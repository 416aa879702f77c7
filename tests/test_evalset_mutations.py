"""Broken eval sets: each loads and saves to an equal one, or ends in one clear error; no traceback, no hang."""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset, save_evalset
from workbench.scorers.base import SCORERS

LINES = {
    "evalset.yaml": """\
schema: 1
name: mini
description: Tickets to queues, "café" and all.
license: CC0-1.0
sensitivity: internal
variants:
  default:
    messages:
      - role: system
        content: |-
          You sort tickets.
          Answer with JSON: queue, urgent.
      - {role: user, content: "Subject: {{ inputs.subject }}"}
  few_shot:
    examples: 2
    messages:
      - {role: user, content: "{% for tag in inputs.tags %}{{ tag }} {% endfor %}{{ inputs.subject }}"}
  terse:
    messages:
      - {role: user, content: "{{ inputs.subject | trim }}"}
  chat:
    messages:
      - {role: system, content: Sort it.}
      - {turns: chat}
generation: {temperature: 0, max_tokens: 40, seed: 0, stop: ["\\n\\n"]}
output: {json_schema: schema.json, format_retries: 1}
scorers:
  - {type: json_fields, average: mean, fields: {queue: label, urgent: boolean}}
  - {type: json_schema, weight: 0}
accept: {min_score: 0.85}
limits: {min_score: 0.6, margin: 0.05, p95_latency_s: 2.5}
rules: rules.yaml
""",
    "schema.json": """\
{
  "type": "object",
  "properties": {
    "queue": {"enum": ["billing", "bug", "access"]},
    "urgent": {"$ref": "#/$defs/flag"}
  },
  "required": ["queue", "urgent"],
  "$defs": {"flag": {"type": "boolean"}}
}
""",
    "rules.yaml": """\
schema: 1
text: [subject, tags]
fields:
  queue:
    rules:
      - {pattern: "(?i)invoice|refund", answer: billing}
      - {pattern: '\\bcrash', answer: bug}
    default: access
  urgent:
    rules:
      - {pattern: "(?i)today", answer: true}
    default: false
""",
}


def row(name: str, queue: str = "billing", **more: Any) -> dict[str, Any]:
    subject = f"CANARY café {name} \N{CAT FACE}"
    chat = [{"role": "user", "content": subject}]
    inputs = {"subject": subject, "tags": ["CANARY", "b"], "chat": chat, "unused": "CANARY"}
    return {"id": name, "inputs": inputs, "expectations": {"queue": queue, "urgent": name > "c"}, **more}


ITEMS = [
    row("a"),
    row("b", "bug", sensitivity="restricted", cluster="k"),
    row("c", "access", slice={"language": "CANARY"}),
    row("d", "bug", sensitivity="public"),
]
TRAIN = [row("t1"), row("t2", "bug")]
FILES = {
    **{name: text.encode() for name, text in LINES.items()},
    "items.jsonl": "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in ITEMS).encode(),
    "train.jsonl": "".join(json.dumps(item) + "\n" for item in TRAIN).encode(),
}
NAMES = sorted(FILES)
SECONDS = 10  # of the processor, the most that one mutated set may take
# What is wrong with a file as a whole has no line.
WHOLE = re.compile(
    r"there is no such file\.|has no items\.|cannot be read \(|must be a file, and is a folder|larger than"
    r"|is a link that leads out of the folder"
)

Mutant = dict[str, bytes | Callable[[Path], object]]


def write(folder: Path, mutant: Mutant) -> Path:
    folder.mkdir(parents=True)
    for name, content in mutant.items():
        if callable(content):
            content(folder / name)
        else:
            (folder / name).write_bytes(content)
    return folder


def same(one: EvalSet, other: EvalSet) -> bool:
    """Whether all is the same, to the type: 1, 1.0 and True are not."""
    rules = [each.rules.spec if each.rules else None for each in (one, other)]
    parts = [
        (getattr(one, part), getattr(other, part)) for part in ("spec", "items", "train", "output_schema", "scorers")
    ]
    return all(left == right and repr(left) == repr(right) for left, right in (*parts, tuple(rules)))


def outcome(folder: Path) -> str:
    """`loaded` or the one clear error; a failing assertion says what else happened."""
    started = time.process_time()
    try:
        loaded = load_evalset(folder)
    except InputError as failure:
        return clear(str(failure), folder)
    finally:
        assert time.process_time() - started < SECONDS, "took too long"
    again = load_evalset(save_evalset(loaded, folder.parent.parent / "again" / folder.name))
    assert same(loaded, again), "saves to another set"
    return "loaded"


def clear(message: str, folder: Path) -> str:
    found = re.match(rf"evalsets/{folder.name}(?:/([\w.]+))?(?::(\d+))?: \S", message)
    assert found, f"names no file: {message}"
    assert message.endswith("."), f"has no full stop: {message}"
    assert len(message) <= 400, f"{len(message)} characters: {message}"
    assert message.isprintable(), f"not on one line: {message!r}"
    assert "CANARY" not in message, f"repeats an item: {message}"
    assert "Traceback" not in message and "object at 0x" not in message, message
    assert not message.endswith((" .", "..", ":.", ",.")) and ": : " not in message, message
    if found[2] is None:
        assert found[1] == "schema.json" or WHOLE.search(message), f"names no line: {message}"
    else:
        path = folder / str(found[1])
        count = len(re.split("\r\n|[\r\n\x85\u2028\u2029]", path.read_bytes().decode("utf-8", "replace")))
        assert 1 <= int(found[2]) <= count, f"there is no such line: {message}"
    return message


def with_file(name: str, content: bytes | str | Callable[[Path], object] | None) -> Mutant:
    """The valid set with another content of a file, or without it."""
    mutant: Mutant = {**FILES}
    if content is None:
        del mutant[name]
    else:
        mutant[name] = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return mutant


# Mutations of bytes and lines, by chance.


def flipped(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwritten(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([chance.choice(b"\x00\xff\"'{}[]:,\n\r\t\\&*!|>%@`#-?~=<")]) + data[place + 1 :]


def truncated(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def cut_out(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randint(1, 40) :]


def repeated(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[: start + chance.randint(1, 60)] + data[start:]


def lines_swapped(chance: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def line_repeated(chance: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    return b"".join(lines)


def line_dropped(chance: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[chance.randrange(len(lines))]
    return b"".join(lines)


def indented(chance: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines))
    lines[place] = chance.choice([b" ", b"\t", b"    "]) + lines[place]
    return b"".join(lines)


ODD = [
    *("\ufeff", "\u2028", "\u2029", "\x85", "\u200b", "\u202e", "\U0001f600", "e\u0301", "\x7f", "\x1b[31m", "\0"),
    *("\ud83d", "\udc00\ud800", "\ufffe", "\U0010ffff", "\xa0", "\u3000", "\x0c"),
    *("\\ud83d", "\\u0000", "\\ud83d\\ude00", "\\x85"),
]


def odd_letters(chance: random.Random, data: bytes) -> bytes:
    text = data.decode()
    place = chance.randrange(len(text) + 1)
    return (text[:place] + chance.choice(ODD) + text[place:]).encode("utf-8", "surrogatepass")


BY_CHANCE = [
    *(flipped, overwritten, truncated, cut_out, repeated, lines_swapped, line_repeated, line_dropped, indented),
    odd_letters,
]


def by_chance(change: Callable[[random.Random, bytes], bytes]) -> Iterator[Mutant]:
    for name in NAMES:
        for number in range(6):
            chance = random.Random(f"{change.__name__} {name} {number}")
            yield with_file(name, change(chance, FILES[name]))


# Mutations of a kind.


def encodings() -> Iterator[Mutant]:
    for name in NAMES:
        text = FILES[name].decode()
        for codec in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-7"):
            yield with_file(name, text.encode(codec, "replace"))
        for end in ("\r\n", "\r", "\x85", "\u2028", "\n\n", "\n \n", ""):
            yield with_file(name, text.replace("\n", end))
        yield with_file(name, f"{text}\ufeff{text}")
        yield with_file(name, text * 2)
        yield with_file(name, b"\x1f\x8b\x08" + FILES[name])
        yield with_file(name, b"")
        yield with_file(name, b"\n")
        yield with_file(name, b"\x00" * 100)


def missing_and_strange_files() -> Iterator[Mutant]:
    for name in NAMES:
        yield with_file(name, None)
        yield with_file(name, Path.mkdir)
        yield with_file(name, os.mkfifo)
        for target in ("/etc/passwd", "/dev/zero", "../../elsewhere", "gone", name, "evalset.yaml", "/", "x" * 300):
            yield with_file(name, lambda path, target=target: path.symlink_to(target))
        inside = with_file(name, lambda path: path.symlink_to("the_file"))
        yield {**inside, "the_file": FILES[name]}


SNIPPETS = [
    '!!python/object/apply:os.system ["echo CANARY > hacked"]',
    "!!python/name:os.system",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "!!float x",
    "!!bool maybe",
    "!own tagged",
    "&a [*a]",
    "&a {<<: *a}",
    "*nowhere",
    "{<<: 1}",
    "{<<: {a: 1}}",
    "2026-01-02",
    "2026-13-45",
    "2026-01-02T03:04:05Z",
    "0x" + "f" * 5000,
    "0o777",
    "1:2:3",
    "1:" * 5000 + "1",
    ".nan",
    "-.inf",
    "1.0e+400",
    "1e400",
    "9" * 5000,
    "9" * 290,
    "-1",
    "0",
    "0.5",
    "~",
    "",
    "yes",
    "=",
    "|\n   x",
    "? [a]",
    "{[a]: 1}",
    "{1: a}",
    "{yes: a}",
    "{2026-01-02: a}",
    "{a: 1, a: 2}",
    "[]",
    "{}",
    "[a, [b]]",
    '"\\ud800"',
    '"\\0\\x01\\e"',
    '"\\x85\\L\\P\\_"',
    '" a  \\n  b \\n\\n"',
    "'" + "word " * 60 + "'",
    "x" * 5000,
    "[" * 150 + "]" * 150,
    "[" * 5000,
    "{a: " * 150 + "1" + "}" * 150,
    "@x",
    "%x",
    "`x",
    "'open",
    "a: b",
    "\u202eabc",
    "{role: user, content: b, turns: x}",
]


def snippets(name: str) -> Iterator[Mutant]:
    """Every snippet in place of some value of a YAML file."""
    lines = LINES[name].splitlines()
    places = [(n, m.end()) for n, line in enumerate(lines) for m in re.finditer(r"[\w\]]: ", line)]
    for number, snippet in enumerate(SNIPPETS):
        for which in (number * 7, number * 7 + len(places) // 2):
            at, column = places[which % len(places)]
            rest = re.sub(r"^(\"[^\"]*\"|'[^']*'|\[[^]]*\]|[^,}]*)", "", lines[at][column:])
            changed = [*lines[:at], lines[at][:column] + snippet + rest, *lines[at + 1 :]]
            yield with_file(name, "\n".join(changed) + "\n")


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, 10**300, 1e300, "", " ", "x", "x" * 5000, "\0", "\x85"),
    *(
        [],
        {},
        [[]],
        [{}],
        [1],
        [None],
        ["x"],
        {"x": 1},
        {"": {}},
        {"x" * 5000: 1},
        {"\n": 1},
        {"type": "label"},
        ["x", "x"],
    ),
]


def spots(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for key, inner in inside:
        yield (*place, key)
        yield from spots(inner, (*place, key))


def changed_at(value: Any, place: tuple[str | int, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(value))
    here = copy
    for part in place[:-1]:
        here = here[part]
    change(here, place[-1])
    return copy


def renamed(here: Any, key: Any) -> None:
    if isinstance(here, dict):
        here[f"{key}x"] = here.pop(key)
    else:
        here.append(here[key])


def removed(here: Any, key: Any) -> None:
    del here[key]


def put(value: Any) -> Callable[[Any, Any], None]:
    return lambda here, key: here.__setitem__(key, value)


def trees(name: str) -> Iterator[Mutant]:
    """Every field removed, renamed, and replaced by values of other types, in turn."""
    text = FILES[name].decode()
    lines = text.splitlines() if name.endswith("jsonl") else [text]
    data = yaml.safe_load(text) if name.endswith("yaml") else json.loads(lines[-1])
    turn = 0
    for place in spots(data):
        values = [VALUES[(turn + step) % len(VALUES)] for step in range(3)]
        turn += 3
        for change in (removed, renamed, *map(put, values)):
            changed = changed_at(data, place, change)
            dumped = yaml.safe_dump(changed) if name.endswith("yaml") else json.dumps(changed, ensure_ascii=False)
            yield with_file(name, "\n".join([*lines[:-1], dumped]) + "\n")


JSON_SNIPPETS = [
    *("NaN", "-Infinity", "1e999", "-0.0", "1E5", "9" * 4000, "9" * 5000, "1.", "01", "+1", "0x1", "'a'", "nul"),
    *('"\\ud800"', '"\\udc00\\ud83d"', '["\\ud800"]', '{"\\ud800": 1}', '"\\ud83d\\ude00"', '"\\u0000"', '"\x01"'),
    *("[" * 95 + "]" * 95, "[" * 150 + "]" * 150, "[" * 100_000, '{"a":' * 400 + "1" + "}" * 400, '{"a": 1, "a": 2}'),
    *('{"a": {"b": 1, "c": 2, "b": 3}}', "[1,]", "// CANARY", '"CANARY', '"\u2028"', "\ufeff1", "\xa01", "[]", "{}"),
]


def json_snippets(name: str) -> Iterator[Mutant]:
    text = FILES[name].decode()
    places = [found.end() for found in re.finditer(r'": ', text)]
    unused = next((at for at in reversed(places) if text[:at].endswith('"unused": ')), places[-1])
    for number, snippet in enumerate(JSON_SNIPPETS):
        for at in (places[number * 5 % len(places)], places[number * 7 % len(places)], unused):
            rest = re.sub(r'^("[^"]*"|\[[^]]*\]|\{[^}]*\}|[^,}]*)', "", text[at:])
            yield with_file(name, text[:at] + snippet + rest)


def bombs() -> Iterator[Mutant]:
    def yaml_with(bomb: str, name: str = "evalset.yaml") -> Mutant:
        return with_file(name, bomb + "\n" + LINES[name])

    lol = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lol += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    merged = ["m0: &m0 {a: 1}", *(f"m{n}: &m{n} {{<<: [{f'*m{n - 1}, ' * 9}*m{n - 1}]}}" for n in range(1, 12))]
    for name in LINES:
        if name.endswith("yaml"):
            yield yaml_with("\n".join(lol), name)
            yield yaml_with("\n".join(merged), name)
            yield yaml_with(f"deep: {'[' * 3000}{']' * 3000}", name)
            yield yaml_with(f"many: [{'1,' * 200_000}]", name)
            yield yaml_with(f"# {'x' * (3 << 20)}", name)
            yield yaml_with(f"{'x' * 100_000}: 1", name)
    one = LINES["evalset.yaml"]
    yield with_file("evalset.yaml", one.replace("fields: {queue", "fields: &f {x: *f, queue"))
    for schema in (
        '{"type": "object", "$ref": "#"}',
        '{"type": "object", "allOf": ' + "[" * 90 + "]" * 90 + "}",
        '{"type": "object", "properties": {"queue": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}',
        '{"type": "object", "properties": {"queue": {"pattern": "(a{1000}){1000}"}}}',
        '{"type": "object", "properties": {"queue": {"pattern": "("}}}',
        '{"type": "object", "$ref": "#/properties/x/1/y"}',
        '{"type": "object", "allOf": [{}], "$ref": "#/allOf/x"}',
        '{"type": "object", "$ref": "#%zz"}',
        '{"type": "object", "$ref": "\\u0000"}',
        '{"type": "object", "$dynamicRef": "#nope"}',
        '{"type": "object", "$id": "http://[", "$ref": "#"}',
        '{"type": "object", "$schema": "http://json-schema.org/draft-03/schema#"}',
        '{"type": "object", "properties": {"queue": {"enum": [' + ", ".join(f'"{n}"' for n in range(5000)) + "]}}}",
        '{"type": "object", "properties": {"queue": true, "urgent": false}}',
        '{"type": ["object"]}',
        '"object"',
    ):
        yield with_file("schema.json", schema)
    for pattern in ("(a{1000}){1000}", "(" * 5000, "[" * 500, "(?P<a>x)(?P<a>y)", "\\p{Nope}", "a{99999999999}"):
        yield with_file("rules.yaml", LINES["rules.yaml"].replace("\\bcrash", pattern))


TEMPLATES = [
    "{{ 'a' * 10 ** 9 }}",
    "{{ [inputs.subject] * 10 ** 9 }}",
    "{{ 9 ** 99999999 }}",
    "{{ 'a'|center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:>{}}'.format(1, 10 ** 9) }}",
    "{{ inputs|tojson(indent=10 ** 9) }}",
    "{{ ('ab' * 1000).replace('a', 'ab' * 10000) }}",
    "{{ range(10 ** 9)|list }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for i in range(80) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x=['a']) %}{% for i in range(80) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x='a') %}{% for i in range(80) %}{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
    "{% set x %}{% for i in range(99999) %}" + "word " * 1000 + "{% endfor %}{% endset %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
    "{% if 1 %}" * 500,
    "{{ inputs.subject." + "a." * 5000 + "b }}",
    "{{ '\\ud800' }}",
    "{{ inputs[inputs.subject] }}",
    "{{ inputs.subject|int // 0 }}",
    "{% include '/etc/passwd' %}",
    "{{ inputs.__class__.__mro__ }}",
    "{{ inputs.subject|nope }}",
    "{{ inputs.subject is nope }}",
    "{{ raise('CANARY') }}",
    "{{ inputs." + "x" * 3000 + " }}",
    "{{ inputs['a\nb'] }}",
    "{% raw %}{{ x }}{% endraw %}",
    "{# nothing #}",
    "plain { text } %}",
]


def templates() -> Iterator[Mutant]:
    data = yaml.safe_load(LINES["evalset.yaml"])
    for template in TEMPLATES:
        data["variants"]["terse"]["messages"][0]["content"] = template
        yield with_file("evalset.yaml", yaml.safe_dump(data))


def scorer_settings() -> Iterator[Mutant]:
    data = yaml.safe_load(LINES["evalset.yaml"])
    settings: list[dict[str, Any]] = [
        {},
        {"nope": 1},
        {"weight": -1},
        {"weight": "many"},
        {"field": ["queue"]},
        {"field": "queue", "aliases": {"nope": ["x"]}},
        {"fields": {"queue": {"type": "list"}}},
        {"fields": {"queue": "nope", "urgent": 7}},
        {"extract": "("},
        {"name": "a b"},
    ]
    for kind in (*SCORERS.names(), "nope", "", None, 7, ["label"]):
        for more in settings if isinstance(kind, str) else settings[:1]:
            data["scorers"] = [{"type": kind, **more}]
            yield with_file("evalset.yaml", yaml.safe_dump(data))
    for several in ([], [1], ["label"], "label", [{}], data["scorers"] * 2, [{"type": "json_schema", "weight": 0}]):
        data["scorers"] = several
        yield with_file("evalset.yaml", yaml.safe_dump(data))


IDS = ["", "a", "t1", "x" * 200, "x" * 201, "a\nb", "\x1b[31m", "\u202ea", " ", "../a", 7, None, ["a"], "\0"]


def identities() -> Iterator[Mutant]:
    """Odd ids, and those that are there already, in both files."""
    for identity in IDS:
        for name in ("items.jsonl", "train.jsonl"):
            yield with_file(name, FILES[name].decode() + json.dumps({**row("z"), "id": identity}) + "\n")
        twice = json.dumps({**row("z"), "id": identity}) + "\n"
        yield with_file("items.jsonl", FILES["items.jsonl"].decode() + twice + "\n\n" + twice)


KINDS: dict[str, Callable[[], Iterator[Mutant]]] = {
    **{change.__name__: lambda change=change: by_chance(change) for change in BY_CHANCE},
    **{f"snippets in {name}": lambda name=name: snippets(name) for name in ("evalset.yaml", "rules.yaml")},
    **{f"snippets in {n}": lambda n=n: json_snippets(n) for n in ("schema.json", "items.jsonl", "train.jsonl")},
    **{f"trees of {name}": lambda name=name: trees(name) for name in NAMES},
    "encodings": encodings,
    "missing and strange files": missing_and_strange_files,
    "bombs": bombs,
    "templates": templates,
    "scorer settings": scorer_settings,
    "identities": identities,
}


def test_the_set_that_is_mutated_is_valid(project: Path) -> None:
    folder = write(project / "evalsets" / "mini", {**FILES})
    assert outcome(folder) == "loaded"
    loaded = load_evalset(folder)
    assert same(loaded, load_evalset(save_evalset(loaded, folder)))  # also over itself


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_set_loads_and_saves_to_an_equal_one_or_gives_one_clear_error(project: Path, kind: str) -> None:
    seen: Counter[str] = Counter()
    for number, mutant in enumerate(KINDS[kind]()):
        folder = write(project / str(number) / "evalsets" / "mini", mutant)
        os.chdir(project / str(number))
        try:
            seen[outcome(folder)] += 1
        except Exception as failure:
            failure.add_note(f"{kind}, number {number}: {folder}")
            raise
        finally:
            os.chdir(project)
    assert not list(project.rglob("hacked"))
    assert seen.total() >= 14
    assert len(seen) >= 3  # some load or not, for more than one reason
