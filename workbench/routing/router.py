"""A per-request router: a prompt's features to each candidate's chance of an accepted answer, and the choice.

    router = load_router("routing.support_triage-open.json")
    router.choose("Please cancel my order")            # a candidate's id
    router.chances(["Please cancel my order"])         # each candidate's chance

A linear model in a JSON file: numbers only, nothing that runs, and no word of any item (n-grams are hashed).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench import project
from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.routing.features import BUCKETS, LENGTHS, State

Floats = NDArray[np.float64]
_FORMAT = "workbench.per_request/1"
_WIDEST = 1 << 16  # of embeddings


@dataclass(frozen=True)
class Router:
    """A linear model of each candidate's chance, and what a unit of cost counts against it.

    Attributes:
        candidates: ids.
        state: how a prompt becomes features.
        coefficients: by block, shape (features, candidates).
        intercepts: shape (candidates,).
        calibration: slope and offset of each candidate's logit, shape (candidates, 2).
        price: what answering by a candidate counts against its chance, shape (candidates,).
        prompt_variant: the variant whose prompts it was trained on.
    """

    candidates: list[str]
    state: State
    coefficients: dict[str, Floats]
    intercepts: Floats
    calibration: Floats
    price: Floats
    prompt_variant: str = "default"

    def chances(self, texts: Sequence[str], slices: Sequence[str] | None = None) -> Floats:
        """Each candidate's chance of an accepted answer, prompts × candidates."""
        blocks = self.state.rows(texts, slices)
        linear = self.intercepts + sum(blocks[name] @ found for name, found in self.coefficients.items())
        return calibrated(np.asarray(linear), self.calibration)

    def choose(self, text: str, slice: str | None = None) -> str:
        """The candidate for a prompt; `slice` as in the outcome table, where the router was trained with it."""
        return self.candidates[int(preferred(self.chances([text], [slice or ""]), self.price)[0])]

    def save(self, path: str | Path) -> None:
        """Write the model, whole or not at all."""
        write_atomic(Path(path), self._text)

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def _text(self) -> str:
        data = {
            "format": _FORMAT,
            "candidates": self.candidates,
            "prompt_variant": self.prompt_variant,
            "with_slices": self.state.with_slices,
            "embeddings": {"model": self.state.embeddings, "width": len(self.coefficients.get("embeddings", ()))},
            "lengths": {"center": _rounded(self.state.center), "scale": _rounded(self.state.scale)},
            "idf": {kind: _packed(idf) for kind, idf in self.state.idf.items()},
            "coefficients": {name: _packed(found) for name, found in self.coefficients.items()},
            "intercepts": _rounded(self.intercepts),
            "calibration": [_rounded(row) for row in self.calibration],
            "price": _rounded(self.price),
        }
        return json.dumps(data) + "\n"


def load_router(path: str | Path, sha256: str | None = None) -> Router:
    """Read a router's file.

    Args:
        path: the file.
        sha256: what routing.yaml says it is.

    Raises:
        InputError: it is not there, not such a file, or another one than routing.yaml names.
    """
    path = project.resolve(path)
    try:
        text = path.read_text()
    except OSError:
        raise InputError(f"{project.shown(path)}: there is no such file. Route again.") from None
    if sha256 is not None and hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise InputError(f"{project.shown(path)}: is not the file that routing.yaml names. Route again.")
    try:
        return _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as failure:
        raise InputError(f"{project.shown(path)}: is not a router's file ({type(failure).__name__}).") from None


def _read(data: Any) -> Router:
    if data["format"] != _FORMAT:
        raise ValueError("another format")
    names = [str(name) for name in data["candidates"]]
    vectors = data["embeddings"]
    sizes = {**BUCKETS, "lengths": LENGTHS, "embeddings": min(int(vectors["width"]), _WIDEST)}
    coefficients = {
        str(name): _unpacked(found, sizes[name], len(names)) for name, found in data["coefficients"].items()
    }
    state = State(
        idf={str(kind): _unpacked(found, sizes[kind], 1)[:, 0] for kind, found in data["idf"].items()},
        center=np.array(data["lengths"]["center"], dtype=float),
        scale=np.array(data["lengths"]["scale"], dtype=float),
        with_slices=bool(data["with_slices"]),
        embeddings=None if vectors["model"] is None else str(vectors["model"]),
    )
    return Router(
        candidates=names,
        state=state,
        coefficients=coefficients,
        intercepts=np.array(data["intercepts"], dtype=float),
        calibration=np.array(data["calibration"], dtype=float).reshape(len(names), 2),
        price=np.array(data["price"], dtype=float),
        prompt_variant=str(data["prompt_variant"]),
    )


def calibrated(linear: Floats, calibration: Floats) -> Floats:
    """Platt's scaling: a logistic curve through what was predicted and what came of it."""
    return np.asarray(1 / (1 + np.exp(-(calibration[:, 0] * linear + calibration[:, 1]))))


def preferred(chances: Floats, price: Floats) -> NDArray[np.intp]:
    """For each row the candidate with the highest chance, less its price; ties go to the first."""
    return np.asarray(np.argmax(chances - price, axis=1), dtype=np.intp)


def _packed(values: Floats) -> dict[str, str]:
    """The numbers that are not 0, and where they stand."""
    flat = np.asarray(values, dtype=np.float32).ravel()
    at = np.flatnonzero(flat).astype("<u4")
    return {"at": _text(at.tobytes()), "values": _text(flat[at].astype("<f4").tobytes())}


def _unpacked(data: Any, height: int, width: int) -> Floats:
    flat = np.zeros(height * width)
    at = np.frombuffer(base64.b64decode(data["at"], validate=True), dtype="<u4")
    flat[at] = np.frombuffer(base64.b64decode(data["values"], validate=True), dtype="<f4")
    if not np.isfinite(flat).all():
        raise ValueError("not finite")
    return flat.reshape(height, width)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.9g}") for value in np.asarray(values).ravel()]
