"""What a curated notebook makes of its parameters, so that its cells stay short and a mistyped one is one clear line.

evalsets, variants = notebooks.to_ask(evalsets, variants, usual="few_shot,terse")
made = notebooks.bring_in("tickets.csv", imported, sensitivity, replace, notebooks.folder(exports))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench import project
from workbench.errors import InputError
from workbench.strict import brief

if TYPE_CHECKING:
    from workbench.evalset import EvalSet
    from workbench.formats import Import


T = TypeVar("T")
_EXAMPLE = "notebooks/examples/handed_over.csv"


def bring_in(source: str, name: str, sensitivity: str, replace: bool, folder: Path) -> Import:
    """Make an eval set of a file, or of the example, which is made anew each time.

    Args:
        source: the file; empty takes the example.
        name: what the eval set is called; empty takes the file's name.
        sensitivity: of items that do not say; empty counts as restricted, but for the example.
        replace: write over an eval set that was made of the file before.
        folder: below which the eval set goes, into `evalsets/`.

    Raises:
        InputError: the file cannot be imported, or there is such an eval set already.
    """
    from workbench.formats import Options, import_evalset

    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(source or _EXAMPLE).stem).strip("_-")[:64]
    target = folder / "evalsets" / (name or stem or "imported")
    if source and target.exists() and not replace:
        raise InputError(
            f"{project.shown(target)}: is there already. Set the parameter 'replace' to True to write over it, or "
            "'imported' to another name."
        )
    options = Options(sensitivity=sensitivity or (None if source else "internal"))
    return import_evalset(source or _EXAMPLE, target, options=options, replace=replace or not source)


def one(known: Mapping[str, T], name: str, parameter: str) -> T:
    """What a parameter names, out of all that there is.

    Raises:
        InputError: it names nothing of it, or not one.
    """
    found = known.get(name.strip())
    if found is None:
        raise InputError(f"parameter '{parameter}' is '{brief(name, 60)}': name one of {', '.join(known)}.")
    return found


def numbers(text: str, parameter: str) -> list[int] | None:
    """Whole numbers with commas between them; None where there are none.

    Raises:
        InputError: one of them is no whole number from 1.
    """
    found = project.listed(text)
    for each in found or ():
        if not each.isdecimal() or int(each) < 1:
            raise InputError(
                f"parameter '{parameter}' is '{brief(text, 60)}': '{brief(each, 20)}' is no whole number from 1. "
                "Write it as 1,2,4."
            )
    return [int(each) for each in found] if found else None


def share(value: float, parameter: str) -> float:
    """A parameter that is a share, such as 0.2.

    Raises:
        InputError: it is not above 0 and at most 1.
    """
    if not 0 < value <= 1:
        raise InputError(f"parameter '{parameter}' is {value:g}: it is a share above 0 and at most 1, such as 0.2.")
    return value


def priced(text: str, parameter: str) -> list[str]:
    """Models of the bundled price tables, with commas between them.

    Raises:
        InputError: one of them is no provider and model.
    """
    found = project.listed(text) or []
    for each in found:
        if not all(each.partition("/")):
            raise InputError(
                f"parameter '{parameter}' is '{brief(text, 60)}': '{brief(each, 40)}' is no PROVIDER/MODEL of the "
                "price tables. Write it as openai/gpt-4o-mini."
            )
    return found


def to_ask(evalsets: Mapping[str, EvalSet], variants: str, usual: str) -> tuple[Mapping[str, EvalSet], str]:
    """The eval sets and variants to run with: a set that has none of the usual variants is asked with its own.

    So the notebook runs on an imported set too, whose one variant is `default`. It is printed where that happens.
    Variants that somebody wishes otherwise are taken at their word.

    Args:
        evalsets: as they were loaded.
        variants: the parameter, comma-separated; empty takes all.
        usual: what the parameter is where nobody sets it.

    Raises:
        InputError: a variant was wished that none of the sets has.
    """
    names = project.listed(variants) or []
    if names == project.listed(usual):
        return _usual(evalsets, names)
    known = sorted({name for evalset in evalsets.values() for name in evalset.spec.variants})
    for name in names:
        if name not in known:
            raise InputError(
                f"parameter 'variants': none of these eval sets has a variant '{brief(name, 60)}'. "
                f"There are: {', '.join(known)}."
            )
    return evalsets, variants


def _usual(evalsets: Mapping[str, EvalSet], names: list[str]) -> tuple[Mapping[str, EvalSet], str]:
    found, asked = {}, dict[str, None]()
    for task, evalset in evalsets.items():
        own = evalset.spec.variants
        kept = {name: variant for name, variant in own.items() if name in names}
        if not kept:
            print(f"{task} has no variant {' or '.join(names)}: it is asked with its own ({', '.join(own)}).")
            kept = dict(own)
        # Each set has its part only, as the run takes one list of variants for all.
        found[task] = replace(evalset, spec=evalset.spec.model_copy(update={"variants": kept}))
        asked |= dict.fromkeys(kept)
    return found, ",".join(asked)
