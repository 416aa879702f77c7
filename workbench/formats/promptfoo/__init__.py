"""promptfoo's tests: CSV and JSONL files of test cases, and promptfooconfig.yaml with its prompts and assertions.

done = import_evalset("promptfooconfig.yaml", "evalsets/translate")    # each kind of assertion is a scorer
export_evalset(evalset, "promptfoo", "promptfooconfig.yaml")
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.formats.base import FORMATS, Format, Found, Loss, Options, Sink, check_readable, where
from workbench.formats.promptfoo import export
from workbench.formats.promptfoo.asserts import KINDS, SCHEMA, claims
from workbench.formats.promptfoo.cases import CONFIGS, Case, Suite
from workbench.formats.promptfoo.plan import Kept, Plan
from workbench.formats.promptfoo.prompts import Prompt, plain_prompt, read_prompts
from workbench.formats.shared.files import head, refuse_mapping
from workbench.formats.shared.ledger import Ledger
from workbench.formats.shared.metadata import item_fields

if TYPE_CHECKING:
    from workbench.evalset import EvalSet

_USED = {"prompts", "tests", "defaultTest", "description", "$schema"}
_NAMES = "prompts|providers|targets|tests|defaultTest|scenarios"
_TOP = re.compile(rf"^({_NAMES})\s*:|\"({_NAMES})\"\s*:", re.MULTILINE)
_LISTED = re.compile(
    r"(?:[ \t]*(?:#.*|---.*)?\r?\n)*\s*-\s+(vars|assert|description|metadata)\s*:"
    r"|\s*\[\s*\{\s*\"(vars|assert|description)\"\s*:"
)
_COLUMN = re.compile(
    r"(?:^|[,;\t|\"])\s*__(?:expected\d*|metadata:[^,;\t]+|threshold|metric|prefix|suffix|description)\b"
)


class Promptfoo(Format):
    """promptfoo's test cases and configs."""

    name = "promptfoo"
    about = "promptfoo test cases (CSV, JSONL, YAML, JSON) or a promptfooconfig"
    suffix = ".yaml"

    def sniff(self, source: Path) -> float:
        if source.is_dir():
            return 0.9 if any((source / name).is_file() for name in CONFIGS) else 0.0
        start = head(source)
        first = start.lstrip().partition("\n")[0]
        if first.startswith("{"):
            return _sniffed_object(first, start)
        if _COLUMN.search(first):
            return 0.95
        if source.suffix.lower() in (".csv", ".tsv"):
            return 0.0
        found = len(set(_TOP.findall(start)))
        return 0.9 if _LISTED.match(start) or found > 1 else 0.4 if found else 0.0

    def read(self, source: Path, options: Options, sink: Sink) -> Found:
        if source.is_dir():
            source = next((source / name for name in CONFIGS if (source / name).is_file()), source / CONFIGS[0])
        check_readable(source)
        refuse_mapping(source, options, self.name)
        if options.scorer:
            raise InputError(f"{where(source)}: its tests bring their own assertions. Leave --scorer out.")
        return _Reader(Suite(source)).read(sink)

    def write(self, evalset: EvalSet, target: Path) -> list[Loss]:
        return export.write(evalset, target)


FORMATS.add("promptfoo", Promptfoo())


def _sniffed_object(first: str, start: str) -> float:
    try:
        keys = set(json.loads(first))
    except (ValueError, RecursionError):
        if re.match(r"\{\s*\"(vars|assert)\"\s*:", first):
            return 0.9  # a line that is longer than what was looked at
        return 0.9 if len(set(_TOP.findall(start))) > 1 else 0.0
    if keys & {"prompts", "providers", "tests"}:
        return 0.9 if "tests" in keys else 0.3
    return 0.9 if "vars" in keys else 0.8 if "assert" in keys else 0.0


class _Reader:
    """Goes through the tests three times: for what they assert, for what is carried over, and for the items."""

    def __init__(self, suite: Suite) -> None:
        self.suite, self.ledger, self.plan = suite, Ledger(), Plan()
        self.lost: Counter[str] = Counter()
        self.count = 0
        self.own: set[str] = set()

    def read(self, sink: Sink) -> Found:
        suite, plan = self.suite, self.plan
        for case in suite.cases(Ledger()):
            plan.observe(claims(case, suite)[0])
        prompts = read_prompts(suite, self.ledger)
        for case in suite.cases(Ledger()):
            carried, _ = plan.split(claims(case, suite)[0])
            if carried:
                plan.survey(case, carried)
                for prompt in prompts:
                    prompt.try_on(case)
        for case in suite.cases(self.ledger):
            self._carry(case, sink)
        for key, value in suite.config.items():
            if key not in _USED and value is not None:
                size = f" ({len(value)})" if isinstance(value, list | dict) else ""
                fate = "belongs into models.yaml" if key in ("providers", "targets") else "is not used"
                self.ledger.add(suite.place(key), f"'{key[:60]}'{size} {fate}")
        notes = plan.notes(self.lost, self.count)
        if self.own:
            notes.append(f"metadata of these names is the item's own: {', '.join(sorted(self.own))}")
        return Found(self._spec(prompts, notes), plan.schema, self.ledger.losses(), notes)

    def _carry(self, case: Case, sink: Sink) -> None:
        """Hand over a test's item, and write down what is lost."""
        kept, lost = claims(case, self.suite)
        carried, more = self.plan.split(kept)
        self.count += len(lost) + sum(map(len, kept.values()))
        for each in (*lost, *more):
            self.lost[each.type] += 1
            self.ledger.add(each.place, f"assertion '{each.type[:60]}' is left out: {each.why}")
        if not carried:
            self.ledger.tally(case.place, "a test is left out: it has no assertion that can be carried over")
            return
        self._note_changes(carried)
        metadata = dict(case.metadata)
        beside = metadata.pop("expectations") if isinstance(metadata.get("expectations"), dict) else {}  # our export's
        fields, left = item_fields(metadata)
        left |= {key: "an expectation that an assertion would make" for key in beside if key in KINDS}
        self.own |= fields.keys() - {"slice"}
        for key, what in left.items():
            self.ledger.tally(case.place, f"metadata '{str(key)[:60]}' is {what}")
        expectations = {key: value for key, value in beside.items() if key not in KINDS}
        for kind, found in carried.items():
            if kind != SCHEMA:
                values = [value for claim in found for value in claim.values]
                expectations[kind] = values[0] if len(values) == 1 else values
        sink({**fields, "inputs": case.vars, "expectations": expectations})

    def _note_changes(self, carried: Kept) -> None:
        for kind, found in carried.items():
            for claim in found:
                if claim.weight != self.plan.weight(kind):
                    what = f"weight {claim.weight:g} of '{claim.type}'"
                    self.ledger.tally(claim.place, f"{what}: its scorer has one weight, {self.plan.weight(kind):g}")
                if claim.metric:
                    self.ledger.tally(claim.place, f"metric name '{claim.metric[:60]}' of '{claim.type}'")

    def _spec(self, prompts: list[Prompt], notes: list[str]) -> dict[str, Any]:
        plan, description = self.plan, self.suite.config.get("description")
        if len(plan.bars) > 1:
            shown = ", ".join(f"{bar:g} ({count} tests)" for bar, count in plan.bars.most_common(8))
            place = where(self.suite.source)
            self.ledger.add(place, f"tests pass with different scores: {shown}; here {plan.bar:g}")
        return {
            **({"description": description} if isinstance(description, str) and description.strip() else {}),
            "variants": self._variants(prompts, notes),
            "output": {} if plan.schema is not None else {"text": True},
            "scorers": plan.scorers(),
            "accept": {"min_score": plan.bar},
        }

    def _variants(self, prompts: list[Prompt], notes: list[str]) -> dict[str, Any]:
        plan = self.plan
        for prompt in prompts:
            if prompt.failures:
                why = f"it cannot be rendered for {prompt.failures} tests, first {prompt.first}"
                self.ledger.add(prompt.place, f"prompt '{prompt.name}' is left out: {why}")
        kept = [prompt for prompt in prompts if not prompt.failures]
        if not kept:
            notes.append("there is no prompt, so a plain one shows the variables: " + ", ".join(list(plan.names)[:20]))
            return {"default": plain_prompt(list(plan.names), plan.missing)}
        named: set[str] = set().union(*(prompt.names() for prompt in kept))
        nowhere = sorted(named - set(plan.names))
        if nowhere:
            notes.append(f"the prompts name variables that no test has; they are empty: {', '.join(nowhere[:10])}")
        odd = sorted(plan.containers & named - {prompt.turns for prompt in kept})
        if odd:
            notes.append(f"prompts show objects, lists and true/false in Python's notation: {', '.join(odd[:10])}")
        return {prompt.name: prompt.variant(plan.missing | set(nowhere)) for prompt in kept}
