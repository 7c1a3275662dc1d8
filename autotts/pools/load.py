"""Files of recorded answers -> the arrays that everything is computed from, and what is not known, in words."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from autotts.errors import InputError
from autotts.pools.arrange import Pool, arrange, covered, digest
from autotts.pools.gather import Columns, Made, Size, gather
from autotts.pools.marked import Marks
from autotts.pools.notes import counted, notes
from autotts.pools.recorded import Family, Recorded
from autotts.pools.sizes import checked_size

LONGEST_NAME: Final = 40  # characters of a template or effort in a role


def load(
    paths: Sequence[str | Path],
    *,
    models: Collection[str] = (),
    params: Mapping[str, float] | None = None,
    without: Collection[str] = (),
) -> Recorded:
    """Read pools in the common layout; several files are one pool, merged by prompt_id.

    Parameters
    ----------
    paths
        Files of JSON lines, plain or gzip, or Parquet.
    models
        Models or roles to keep; all by default.
    params
        Parameters by model or role, as plain counts (4.02e9): what a token costs is computed from them, in place of
        what the files say.
    without
        Keys beside those of the layout, such as `contaminated`: a prompt is left out where any line of it says true.

    Raises
    ------
    InputError
        A file cannot be read or contradicts itself or another, or a model is unknown; the message names the place.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not files:
        raise InputError("expected at least one file of recorded answers, found none")
    for twice in (path for path, count in Counter(path.resolve() for path in files).items() if count > 1):
        raise InputError(f"{twice}: expected each file once, found it twice: its samples would count double")
    marks = Marks(without)
    columns = gather(files, marks.see if without else None)
    marked = marks.leave_out(columns)
    families = _families(columns, params or {})
    kept = _chosen(families, models)
    arranged = arrange(columns, families)
    whole = Pool(arranged.problems, arranged.answers, tuple(arranged.drawn[n] for n in kept))
    pool = covered(whole) if models else whole
    if all(np.isnan(drawn.correct).all() and (drawn.answer < 0).all() for drawn in pool.drawn):
        raise InputError(
            f"{', '.join(map(str, files))}: expected answers (`extracted`) or labels (`correct`), found neither in any "
            f"sample: read the answers off the outputs with: autotts pool import {files[0]} --reader math --output "
            "POOL.jsonl"
        )
    told = (*notes(pool, columns, arranged), *marked)
    if left := len(whole.problems) - len(pool.problems):
        told = (*told, f"{counted(left, 'problem')} left out: without samples of these models")
    return Recorded(_joined(list(columns.datasets)), pool.problems, pool.answers, pool.drawn, told, digest(pool))


def _joined(names: Sequence[str]) -> str:
    return "+".join(names[:3]) + (f"+{len(names) - 3} more" if len(names) > 3 else "")


# ---------------------------------------------------------------- families and their roles


def _families(columns: Columns, params: Mapping[str, float]) -> list[Family]:
    """Name the role of each family, and give it its model's parameters."""
    variants: dict[str, dict[tuple[str | None, str | None], None]] = {}
    for made in columns.made:
        variants.setdefault(made.model, {})[(made.template, made.effort)] = None
    named = [(made, _role(made, list(variants[made.model]))) for made in columns.made]
    known = dict.fromkeys(name for made, role in named for name in (made.model, role))
    for name, count in params.items():
        if name not in known:
            raise InputError(f"parameters of {name!r}: expected a model of the pool, {_listed(known, name)}")
        checked_size(count, name)
    return [_family(made, role, columns.sizes[made.model], params) for made, role in named]


def _role(made: Made, variants: Sequence[tuple[str | None, str | None]]) -> str:
    parts = [made.model]
    for value, column in ((made.template, 0), (made.effort, 1)):
        if len({variant[column] for variant in variants}) > 1:
            parts.append(_short(value))
    return "@".join(parts)


def _short(value: str | None) -> str:
    if value is None:
        return "unstated"
    if len(value) > LONGEST_NAME:
        return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return value


def _family(made: Made, role: str, size: Size, params: Mapping[str, float]) -> Family:
    given = params.get(role, params.get(made.model))
    return Family(
        role,
        made.model,
        made.strategy,
        made.temperature,
        made.top_p,
        made.template,
        made.effort,
        _billions(size.total) if given is None else round(given),
        _billions(size.active) if given is None else None,
    )


def _billions(value: float | None) -> int | None:
    return None if value is None else round(value * 1e9)


def _chosen(families: Sequence[Family], models: Collection[str]) -> list[int]:
    known = dict.fromkeys(name for family in families for name in (family.model, family.role))
    for name in models:
        if name not in known:
            raise InputError(f"unknown model {name!r}; expected one of {_listed(known, name)}")
    return [n for n, family in enumerate(families) if not models or {family.model, family.role} & set(models)]


def _listed(names: Collection[str], meant: str) -> str:
    """Names to choose from, those first that look like the one that was meant."""
    near = difflib.get_close_matches(meant, names, 5, 0.5)
    listed = list(dict.fromkeys((*near, *names)))
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
