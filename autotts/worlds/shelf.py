"""The embedded models that there are: which role each answers, what its tokens cost, how good it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.errors import InputError
from autotts.tiny.model import WEIGHTS

# Roles and the folders of the models that answer them; "policy" is what an arm that names no model draws from.
DRAWING: Final[Mapping[str, str]] = {"S": "S", "M": "M", "L": "L", "policy": "S"}
SCORING: Final[Mapping[str, str]] = {"prm": "PRM"}


def _there(folders: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(role for role, folder in folders.items() if (WEIGHTS / folder / "config.json").is_file())


NAMES: Final = tuple(name for name in _there(DRAWING) if name != "policy")
SCORERS: Final = _there(SCORING)


def known(names: Sequence[str]) -> tuple[str, ...]:
    """The embedded models that were named, or all of them."""
    for name in names:
        if name not in NAMES:
            scores = " (it scores, and does not draw)" if name in SCORERS else ""
            raise InputError(f"unknown model {name!r}{scores}; expected some of {', '.join(NAMES)}")
    return tuple(names) or NAMES


def cards(roles: Sequence[str]) -> dict[str, ModelCard]:
    """What each role's cost is computed from; nothing is loaded but configurations."""
    return {role: card_of(folder_of(role, WEIGHTS)) for role in roles}


def shelf() -> list[dict[str, Any]]:
    """Every embedded model: name, role, parameters, accuracy of one greedy draw by level, licence."""
    entries = []
    for role in (*NAMES, *SCORERS):
        folder = folder_of(role, WEIGHTS)
        entries.append(
            {
                "name": role,
                "role": "draws" if role in NAMES else "scores",
                "parameters": card_of(folder).parameters,
                "accuracy": _accuracy(folder / "README.md"),
                "licence": "Apache-2.0",
            }
        )
    return entries


def folder_of(role: str, weights: Path) -> Path:
    folders = {**DRAWING, **SCORING}
    if role not in folders:
        raise InputError(f"unknown model {role!r}; expected some of {', '.join((*NAMES, *SCORERS))}")
    return weights / folders[role]


def card_of(folder: Path) -> ModelCard:
    """A model's card, from its configuration and the header of its weights."""
    config = _json(folder / "config.json")
    try:
        stored = (folder / "model.safetensors").read_bytes()
    except OSError as error:
        raise InputError(f"{folder}: expected an embedded model, found none ({error.strerror})") from error
    header = json.loads(stored[8 : 8 + int.from_bytes(stored[:8], "little")])
    shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return ModelCard(
        name=folder.name,
        revision=sha256((folder / "config.json").read_bytes() + stored).hexdigest()[:12],
        parameters=sum(math.prod(shape) for shape in shapes),
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
    )


def _accuracy(readme: Path) -> dict[str, float]:
    """Shares of right greedy answers by level, from the table of a model's card; empty where it has none."""
    try:
        lines = [line.strip("| ") for line in readme.read_text().splitlines() if line.startswith("|")]
    except OSError:
        return {}
    cells = next((line.split("|")[1:] for line in lines if line.startswith("greedy |")), [])
    levels = next((line.split("|") for line in lines if line.startswith("L1 |")), [])
    return {
        level.strip(): round(float(cell.split("[")[0]) / 100, 4) for level, cell in zip(levels, cells, strict=False)
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a file of an embedded model, found {error!r}") from error
    return data
