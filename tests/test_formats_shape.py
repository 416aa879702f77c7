"""The shape of `workbench.formats`: each format one module by itself, and below `shared` only what two of them use."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from conftest import REPOSITORY

from workbench.formats import FORMATS

FOLDER = REPOSITORY / "workbench" / "formats"
CORE = {"__init__", "base", "folder"}
SHARED = "workbench.formats.shared."
LARGER = {"lm_eval.py": 421, "huggingface.py": 351}  # lines


def owner(path: Path) -> str:
    """The format that a module is; `shared/rows` and the like for what is shared."""
    return "/".join(path.relative_to(FOLDER).with_suffix("").parts)


def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(FOLDER.rglob("*.py"))}


def imported(tree: ast.Module) -> set[tuple[str, str]]:
    """Modules and names that a module imports by name."""
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {(str(node.module), alias.name) for node in froms for alias in node.names}


def public(tree: ast.Module) -> set[str]:
    """The functions, classes and constants that a module has for others."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_each_format_is_one_module() -> None:
    found = {owner(path) for path in trees()} - CORE
    assert {name for name in found if not name.startswith("shared/")} == set(FORMATS.names())
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} - {"__pycache__"} == {"shared"}


def test_no_format_imports_another_and_shared_imports_none() -> None:
    names = FORMATS.names()
    for path, tree in trees().items():
        for module, _ in imported(tree):
            for other in names:
                mine = owner(path) == other
                assert mine or f"{module}.".find(f"workbench.formats.{other}.") != 0, f"{path.name} imports {module}"


def test_what_is_shared_serves_two_formats() -> None:
    users: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path, tree in trees().items():
        for module, name in imported(tree):
            users[module, name].add(owner(path))
    for path, tree in trees().items():
        if path.parent.name != "shared":
            continue
        used_here = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for name in public(tree) - used_here:
            by = users[f"{SHARED}{path.stem}", name]
            general = by & CORE or any(each.startswith("shared/") for each in by)
            assert general or len(by) > 1, f"shared/{path.name}: {name} serves {by or 'nobody'}"


def test_modules_stay_small() -> None:
    for path in trees():
        assert len(path.read_text().splitlines()) <= LARGER.get(path.name, 350), path
