"""Personal data and secrets in items that are not marked as restricted, in ids, and in prompts.

Plain patterns by default, with check sums where a number has one. With the extra `pii` installed, Presidio looks too.
Only kinds and ids are reported, never what was found.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, get_args

from workbench.audit.credentials import SECRETS
from workbench.audit.inputs import fingerprint, shown, strings_in
from workbench.audit.patterns import kinds_in
from workbench.audit.presidio import installed as presidio_installed
from workbench.audit.presidio import kinds_in as presidio_kinds_in
from workbench.audit.report import Finding, Fix, Level, count_of, shortened
from workbench.errors import InputError
from workbench.evalset import EvalSet, Item, Message
from workbench.words import counted

Detector = Literal["auto", "patterns", "presidio"]

# A key "phones" holds numbers; in a text it may be how many there are.
_PHONES = re.compile(r"(?<=phone)s$", re.I)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")  # where words meet in customerPhone and customer_phone
# The digits of an id say nothing, and a prompt may name a hotline, or how dates and numbers are to be written.
_WORDED = {"e-mail address", "bank account (IBAN)", *SECRETS}
_NOT_IN_PROMPTS = _WORDED | {"card number", "social security number"}
_ROLE = re.compile(  # an address that is no person's
    r"(?<![\w.+-])(?:info|support|help(?:desk)?|hello|contact|kontakt|sales|service|office|team|admin|billing|privacy|press"
    r"|jobs|careers|security|legal|feedback|orders?|mail|no-?reply|do-?not-?reply)(?=@)",
    re.I,
)


def searched(evalset: EvalSet, detector: Detector = "auto") -> tuple[list[Finding], dict[str, int]]:
    """Search the items, their ids and the prompts for personal data and secrets.

    Returns:
        What lies where it should not; and how many restricted items hold which kind.

    Raises:
        InputError: there is no such detector, or it is not installed.
    """
    if detector not in get_args(Detector):
        raise InputError(f"there is no detector '{detector}'. There are: {', '.join(get_args(Detector))}.")
    if detector == "presidio" and not presidio_installed():
        raise InputError("the detector presidio is not installed. Install it: pip install 'workbench[pii]'.")
    use_presidio = detector == "presidio" or (detector == "auto" and presidio_installed())
    by_kind: dict[str, list[str]] = defaultdict(list)
    kept_back: Counter[str] = Counter()
    for item in chain(evalset.items, evalset.train):
        kinds = _kinds_of(item, use_presidio)
        if item.sensitivity == "restricted":
            kept_back.update(kinds)
            continue
        for kind in kinds:
            by_kind[kind].append(item.id)
    return [*_unmarked(evalset, by_kind), *_in_names(evalset), *_in_prompts(evalset)], dict(sorted(kept_back.items()))


def _unmarked(evalset: EvalSet, by_kind: dict[str, list[str]]) -> Iterator[Finding]:
    """Items that may reach a hosted model and seem to hold personal data or secrets."""
    holding = {name for names in by_kind.values() for name in names}
    if not holding:
        return
    flagged = tuple(item.id for item in chain(evalset.items, evalset.train) if item.id in holding)
    what = f"{count_of(flagged)} not marked restricted that may hold personal data or secrets ({_counts(by_kind)})"
    mend = "Set sensitivity: restricted (--fix does), or take it out"
    rarest_first = sorted(by_kind.items(), key=lambda each: (len(each[1]), each[0]))
    kinds = tuple((kind, tuple(names)) for kind, names in rarest_first)
    yield Finding("personal data", "error", what, mend, flagged, fix=Fix(restrict=flagged), kinds=kinds)


def _counts(by_kind: Mapping[str, Sequence[object]]) -> str:
    return ", ".join(f"{kind} ({len(found)})" for kind, found in sorted(by_kind.items()))


def _in_names(evalset: EvalSet) -> Iterator[Finding]:
    """Ids and clusters, which stand in every report: where they are is told, not what they are."""
    for file, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        by_kind: dict[str, list[str]] = defaultdict(list)
        for number, item in enumerate(items, 1):
            for kind in kinds_in(f"{item.id}\n{item.cluster or ''}") & _WORDED:
                by_kind[kind].append(str(number))
        if by_kind:
            places = sorted({place for found in by_kind.values() for place in found}, key=int)
            named = "whose id or cluster may hold personal data or secrets"
            what = f"{count_of(places)} of {file} {named} ({_counts(by_kind)}): item {shortened(places)} of the file"
            yield Finding("personal data", "error", what, "Name them otherwise: ids stand in reports, tables and logs")


def _in_prompts(evalset: EvalSet) -> Iterator[Finding]:
    """Prompts as they are written in evalset.yaml, which go to every model."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for name, variant in evalset.spec.variants.items():
        written = "\n".join(message.content for message in variant.messages if isinstance(message, Message))
        for kind in kinds_in(_ROLE.sub(" ", written)) & _NOT_IN_PROMPTS:
            by_kind[kind].append(name)
    if by_kind:
        level: Level = "error" if by_kind.keys() & SECRETS.keys() else "warning"
        names = sorted({name for found in by_kind.values() for name in found})
        what = f"{counted(len(names), 'variant')} whose prompt may hold personal data or secrets ({_counts(by_kind)})"
        mend = "Take it out: a prompt goes to every model, whatever the item's sensitivity"
        yield Finding("personal data", level, f"{what}: {shortened(names)}", mend)


def _kinds_of(item: Item, use_presidio: bool) -> set[str]:
    text = "\n".join(_all_text([item.inputs, item.expectations, item.slice]))
    return kinds_in(text) | (presidio_kinds_in(text) if use_presidio else set())


def _all_text(value: Any) -> Iterator[str]:
    """Every text and number; one that has a name behind it, for `{"phone": 5550142}` says as much as a sentence."""
    if isinstance(value, dict):
        for name, part in value.items():
            words = _PHONES.sub("", _HUMP.sub(" ", str(name)))
            for text in _all_text(part):
                yield f"{words}: {text}"
    elif isinstance(value, list):
        for part in value:
            yield from _all_text(part)
    else:
        yield from strings_in(value)


def twins_of_restricted(evalset: EvalSet) -> Iterator[Finding]:
    """Items that may reach a hosted model, with the inputs of one that may not."""
    show = shown(evalset)
    kept_back = {
        fingerprint(show(item)) for item in chain(evalset.items, evalset.train) if item.sensitivity == "restricted"
    }
    if not kept_back:
        return
    twins = tuple(
        item.id
        for item in chain(evalset.items, evalset.train)
        if item.sensitivity != "restricted" and fingerprint(show(item)) in kept_back
    )
    if twins:
        what = f"{count_of(twins)} not marked restricted with the inputs of one that is"
        mend = "Mark both alike (--fix marks them restricted)"
        yield Finding("sensitivity", "error", what, mend, twins, fix=Fix(restrict=twins))
