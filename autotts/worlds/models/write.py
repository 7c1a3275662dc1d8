"""Writes a measured speed into `models.toml`, and leaves all else of the text as it is."""

from __future__ import annotations

import os
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from autotts.core.latency import Latency
from autotts.errors import InputError
from autotts.worlds.models.costs import COEFFICIENTS
from autotts.worlds.models.read import load

Keys = tuple[str, ...]


def write_latency(path: Path, name: str, latency: Latency) -> None:
    """Set the `latency` table of a model, or of a variant by its whole name, in a file of models.

    The new text is read back before it replaces the old one, at once: it differs in that table alone.

    Raises
    ------
    InputError
        No such model, a text that cannot be changed this way (the table is shown, to be written by hand), or a file
        that cannot be written to.
    """
    data = load(path)
    known = _places(data)
    if name not in known:
        raise InputError(f"{path}: expected a model of {', '.join(known)}, found {name!r}")
    place, values = known[name], _values(latency)
    text = path.read_bytes().decode("utf-8-sig")
    block = [f"{key} = {value}" for key, value in values.items()]
    changed = "\n".join(_set(text.replace("\r\n", "\n").split("\n"), place, block))
    changed = changed.replace("\n", "\r\n") if "\r\n" in text else changed
    if not _only_changes(changed, data, place, values):
        shown = "\n".join([_header((*place, "latency")), *block])
        raise InputError(
            f"{path}: {'.'.join(place)}: expected a table with a header of its own, found it written another way; "
            f"write this in yourself:\n{shown}"
        )
    _replace(path, changed)


def _values(latency: Latency) -> dict[str, str]:
    """What is written, as TOML writes it; what is not known is left out."""
    values = {key: repr(float(f"{getattr(latency, key):.6g}")) for key in COEFFICIENTS}
    values |= {"batch": str(latency.batch), "pad": str(latency.pad)}
    fitted = {"r2": latency.r2, "worst": latency.worst}
    return values | {key: repr(float(f"{value:.4g}")) for key, value in fitted.items() if value is not None}


def _places(data: Mapping[str, Any]) -> dict[str, Keys]:
    """The keys that lead to each model's table, variants included."""
    out: dict[str, Keys] = {}
    models = data.get("models", {})
    for name, own in models.items() if isinstance(models, dict) else ():
        out[name] = ("models", name)
        variants = own.get("variants", {}) if isinstance(own, dict) else {}
        out |= {f"{name}-{key}": ("models", name, "variants", key) for key in variants}
    return out


def _set(lines: Sequence[str], place: Keys, block: Sequence[str]) -> list[str]:
    """The lines with the block as the table `place`.latency: in the stead of the old one, or after its model's keys."""
    old = _section(lines, (*place, "latency"))
    first, last = old or _section(lines, place) or (0, 0)
    body = lines[first:last]
    rest = _trailing(body)
    body = body[: len(body) - len(rest)]
    if old:
        new = [*body[:1], *(line for line in body[1:] if line.lstrip().startswith("#")), *block]
    else:
        plain = [line for line in body if line.partition("=")[0].strip() != "latency"]
        new = [*plain, "", _header((*place, "latency")), *block]
    return [*lines[:first], *new, *(rest or [""]), *lines[last:]]


def _section(lines: Sequence[str], keys: Keys) -> tuple[int, int] | None:
    """The line of a table's header, and the line of the next one."""
    headers = [(i, _keys(line)) for i, line in enumerate(lines) if line.lstrip().startswith("[")]
    known = [(i, found) for i, found in headers if found is not None]
    for k, (i, found) in enumerate(known):
        if found == keys:
            return i, known[k + 1][0] if k + 1 < len(known) else len(lines)
    return None


def _keys(line: str) -> Keys | None:
    """The keys of a header such as [models.small]; None of what is none."""
    try:
        data: Any = tomllib.loads(line.strip())
    except tomllib.TOMLDecodeError:
        return None
    keys: list[str] = []
    while isinstance(data, dict) and data:
        key, data = next(iter(data.items()))
        keys.append(key)
    return tuple(keys) if data == {} else (*keys, "[]")


def _trailing(lines: Sequence[str]) -> list[str]:
    """The empty lines and comments at the end, which belong to what comes next."""
    count = 0
    while count < len(lines) and (not lines[-1 - count].strip() or lines[-1 - count].lstrip().startswith("#")):
        count += 1
    return list(lines[len(lines) - count :])


def _header(keys: Keys) -> str:
    plain = ["".join(c for c in key if c.isascii() and (c.isalnum() or c in "_-")) for key in keys]
    return f"[{'.'.join(key if key == bare else _quoted(key) for key, bare in zip(keys, plain, strict=True))}]"


def _quoted(key: str) -> str:
    return f'"{key}"'  # names that arms can write hold nothing to escape


def _only_changes(text: str, before: Mapping[str, Any], place: Keys, values: Mapping[str, str]) -> bool:
    """Whether the text holds the data from before, with the new table in its place."""
    wanted: Any = deepcopy(dict(before))
    own = wanted
    for key in place:
        own = own[key]
    own["latency"] = tomllib.loads("\n".join(f"{key} = {value}" for key, value in values.items()))
    try:
        return bool(tomllib.loads(text) == wanted)
    except tomllib.TOMLDecodeError:
        return False


def _replace(path: Path, text: str) -> None:
    """Write the file at once: at every moment the old one or the new one is there, with the rights of the old one."""
    whole = path.resolve()  # a link goes on pointing to the file
    fresh = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with fresh.open("xb") as file:
                fresh.chmod(whole.stat().st_mode & 0o777)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, whole)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}; it is as it was") from None
