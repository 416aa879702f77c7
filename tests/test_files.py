"""Files: one clear message with file, line, field and mend; writing whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.files import StrictModel, read_json, read_jsonl, read_text, read_yaml, write_atomic


class Inner(StrictModel, strict=True):
    size: int = 0
    share: float = 0.0


class Outer(StrictModel):
    name: str
    tags: list[str] = []
    parts: dict[str, Inner] = {}


def written(text: str | bytes, name: str = "file.yaml") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", "file.yaml:2: not valid YAML"),
        ("a: 1\n\tb: 2\n", "file.yaml:2: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "file.yaml:3: key 'a' stands here a second time. Keep one"),
        ("a:\n  b: 1\n  b: 2\n", "file.yaml:3: key 'b' stands here a second time"),
        ("a: !!python/object/apply:os.system [ls]\n", "file.yaml:1: not valid YAML"),
        ("a: !!bool maybe\n", "file.yaml:1: not valid YAML: 'maybe' is no bool."),
        ("a: !!timestamp soon\n", "file.yaml:1: not valid YAML: 'soon' is no timestamp."),
        ('a: !!int ""\n', "file.yaml:1: not valid YAML: '' is no int."),
        ("\na: 2026-13-45\n", "file.yaml:2: not valid YAML: '2026-13-45' is no timestamp."),
        ("a: !!set {b, c}\n", "file.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: &a [*a]\n", "file.yaml:1: nested over 100 levels deep, or an alias within itself."),
        ("a: 1\nb: " + "[" * 150 + "]" * 150, "file.yaml:2: nested over 100 levels deep"),
        ("a: 1\nyes: 2\n", "file.yaml:2: 'yes' as a key must be text, but YAML reads it as bool. Quote it."),
        ("a: 1\n? [b]\n: 2\n", "file.yaml:2: a key must be text, but YAML reads it as seq. Quote it."),
        ('a: "\\ud83d"\n', "file.yaml:1: half a character (a lone surrogate)"),
        ('"\\ud83d": 1\n', "file.yaml:1: half a character (a lone surrogate)"),
        ("a: 0x" + "f" * 300, "file.yaml:1: a number of over 300 digits."),
        ("", "file.yaml:1: must be a mapping"),
        ("- a\n- b\n", "file.yaml:1: must be a mapping"),
        (b"a: \xff\n", "file.yaml:1: not UTF-8 text. Save it as UTF-8."),
        (b"a: 1\nb: \x00\n", "file.yaml:2: not valid YAML: character U+0000 may not stand there. Remove it."),
    ],
)
def test_broken_yaml_is_one_message_with_its_line(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(written(text))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_dropped() -> None:
    assert read_yaml(written(b"\xef\xbb\xbfa: 1\n")).data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tags: []\n", "file.yaml:1: field 'name': is missing. Add it."),
        (
            "name: a\ncolor: red\n",
            "file.yaml:2: field 'color': unknown key. Remove it, or see which keys there are: name",
        ),
        ("name: a\ntags:\n  - x\n  - no\n", "file.yaml:4: field 'tags.1': must be text, but YAML reads false"),
        ("name: a\nparts:\n  p:\n    size: 1\n    width: 2\n", "file.yaml:5: field 'parts.p.width': unknown key"),
        ("name: a\nparts:\n  p: {size: big}\n", "file.yaml:3: field 'parts.p.size': input should be a valid integer"),
        ("name: a\nparts:\n  p: {size: yes}\n", "file.yaml:3: field 'parts.p.size': input should be a valid integer"),
        ('name: a\nparts:\n  p: {share: "1"}\n', "file.yaml:3: field 'parts.p.share': input should be a valid number"),
        (
            "name: a\nparts:\n  p: {share: .nan}\n",
            "file.yaml:3: field 'parts.p.share': input should be a finite number",
        ),
        (
            "name: a\nparts:\n  p: {share: .inf}\n",
            "file.yaml:3: field 'parts.p.share': input should be a finite number",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_line_and_the_mend(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_yaml(written(text)).parse(Outer)
    assert str(caught.value).startswith(message)


def test_an_unknown_key_lists_the_keys_of_its_own_level() -> None:
    with pytest.raises(InputError, match=r"which keys there are: size, share\.$"):
        read_yaml(written("name: a\nparts: {name: {width: 2}}\n")).parse(Outer)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{'id': 1}", "not valid JSON: Expecting property name enclosed in double quotes at column 2."),
        ("{", "not valid JSON"),
        ("[1, 2]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"a": ' + "1" * 5000 + "}", "not valid JSON: Exceeds the limit"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_broken_line_of_jsonl_is_named(line: str, problem: str) -> None:
    path = written('{"a": 1}\n\n' + line + "\n", "items.jsonl")
    with pytest.raises(InputError) as caught:
        list(read_jsonl(path))
    assert str(caught.value).startswith(f"items.jsonl:3: {problem}")


def test_a_nested_field_of_jsonl_is_named_whole_without_its_value() -> None:
    path = written('{"name": "a", "parts": {"p": {"size": "CANARY"}}}\n', "items.jsonl")
    (document,) = read_jsonl(path)
    with pytest.raises(InputError) as caught:
        document.parse(Outer)
    assert str(caught.value) == "items.jsonl:1: field 'parts.p.size': input should be a valid integer."


@pytest.mark.parametrize("text", ["{", '{"a": ' + "1" * 5000 + "}", "\n\n nope"])
def test_broken_json_is_named_with_its_line(text: str) -> None:
    with pytest.raises(InputError, match=rf"^s\.json:{text.count(chr(10)) + 1}: not valid JSON"):
        read_json(written(text, "s.json"))


@pytest.mark.parametrize("read", [read_text, read_yaml, read_json, lambda path: list(read_jsonl(path))])
def test_a_missing_file_or_a_folder_is_named(read) -> None:
    with pytest.raises(InputError, match=r"^gone: there is no such file"):
        read(Path("gone"))
    Path("folder").mkdir()
    with pytest.raises(InputError, match=r"^folder: cannot be read \(Is a directory\)"):
        read(Path("folder"))


def test_a_file_over_the_limit_is_refused() -> None:
    with pytest.raises(InputError, match="larger than"):
        read_text(written("x" * 100), limit=99)


def test_write_atomic_replaces_the_file_and_keeps_the_mode() -> None:
    target = Path("deep/er/out.txt")
    write_atomic(target, "one")
    write_atomic(target, b"two", mode=0o600)
    assert target.read_text() == "two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_file_and_no_rest() -> None:
    target = written("old", "out.txt")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(target, "\ud800")
    assert target.read_text() == "old"
    assert [path.name for path in Path().iterdir()] == ["out.txt"]


def test_a_target_that_cannot_be_written_is_named() -> None:
    Path("folder").mkdir()
    written("", "plain")
    with pytest.raises(InputError, match="folder: is a folder"):
        write_atomic(Path("folder"), "x")
    with pytest.raises(InputError, match=r"plain/out\.txt: cannot be written"):
        write_atomic(Path("plain/out.txt"), "x")
