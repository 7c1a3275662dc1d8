"""Reads `models.toml`: which models there are, where they answer, how they are asked, what their tokens cost."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.errors import InputError
from autotts.strategies.arms import parse
from autotts.worlds.models.addresses import NO_KEYS, SERVER_KEYS, read_servers
from autotts.worlds.models.cards import CARDS, Known, find_card
from autotts.worlds.models.costs import CARD_KEYS, read_card
from autotts.worlds.models.entry import ENGINES, Entry, Scoring, Template, Thinking
from autotts.worlds.models.table import Table

EXAMPLE: Final = '[models.small]\nendpoint = "http://localhost:8000/v1"\nmodel = "Qwen/Qwen3-4B"'
_PLAIN: Final = ("engine", "model", "path", "card", "revision", "role", "max_tokens", "context")
_TABLES: Final = ("scoring", "template", "thinking", "extra")
KEYS: Final = (*_PLAIN, *_TABLES, *CARD_KEYS, *SERVER_KEYS)
_WEIGHTS: Final = frozenset(("model", "path", "card"))
# What makes other tokens a second: a variant that changes it must be measured itself.
_SPEED: Final = _WEIGHTS | {"engine", "endpoint", "endpoints", "experts_per_token", "quantisation", "kv_quantisation"}
# A variant that gives one of these does not take the other over.
_INSTEAD: Final = (("endpoint", "endpoints"), ("key_file", "key_env"), ("model", "path"))
# Fields that requests hold already, and fields that would carry a secret into logs.
_TAKEN: Final = frozenset(
    (
        *("model", "messages", "prompt", "n", "seed", "stop", "stream", "stream_options", "temperature", "top_p"),
        *("max_tokens", "max_completion_tokens", "logprobs", "reasoning_effort"),
        *("api_key", "key", "authorization", "password", "secret", "token", "headers", "extra_headers"),
    )
)
_EMBEDDED: Final = ("engine", "model", "max_tokens", "usd_prompt", "usd_cached", "usd_generated", "latency")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
_MAX_TOKENS: Final = 2048


@dataclass(frozen=True, slots=True)
class _Start:
    """What a table's own keys are laid over: a card, and the context of its weights."""

    card: ModelCard
    context: int | None = None


def read_models(path: Path, environ: Mapping[str, str]) -> dict[str, Entry]:
    """Every model of a file, variants included, by the name that arms use.

    Parameters
    ----------
    environ
        Where `key_env` is looked up. Paths in the file are relative to its folder.

    Raises
    ------
    InputError
        The file cannot be read, or something in it is wrong: file, table, key, expected, found. No secret is shown.
    """
    data = load(path)
    reader = _Reader(path, environ)
    for key, value in data.items():
        if key != "models" or not isinstance(value, dict):
            raise InputError(f"{path}: expected tables such as [models.small] only, found {key!r}")
    for name, own in data.get("models", {}).items():
        reader.model(name, own)
    if not reader.entries:
        raise InputError(f"{path}: expected at least one model, found none; a file begins like this:\n{EXAMPLE}")
    return reader.entries


def load(path: Path) -> dict[str, Any]:
    """A TOML file as it stands."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: expected a file of models, found none: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text in UTF-8, found other bytes") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: expected TOML, found something else: {error}") from None


@dataclass(slots=True)
class _Reader:
    """One reading of a file."""

    path: Path
    environ: Mapping[str, str]
    entries: dict[str, Entry] = field(default_factory=dict)

    def model(self, name: str, own: Any) -> None:
        """Read a model and its variants."""
        table = Table(str(self.path), "models", {name: own}).table(name)
        plain = Table(table.file, table.place, {k: v for k, v in table.data.items() if k != "variants"})
        start = _start(plain, name)
        base = self._add(name, plain, plain, start)
        variants = table.table("variants")
        for key in variants.data:
            changes = variants.table(key)
            whole = Table(table.file, changes.place, _changed(plain.data, changes.data))
            kept = base.card if not _SPEED & set(changes.data) else replace(base.card, latency=None)
            over = _Start(kept, base.context)
            if _WEIGHTS & set(changes.data):
                prices = {key: getattr(kept, key) for key in ("usd_prompt", "usd_cached", "usd_generated")}
                other = _start(whole, base.served)
                over = _Start(replace(other.card, **prices), other.context)
            self._add(f"{name}-{key}", whole, changes, over)

    def _add(self, name: str, whole: Table, own: Table, start: _Start) -> Entry:
        whole.only(KEYS, NO_KEYS)
        _check_name(whole, name)
        if name in self.entries:
            raise InputError(f"{self.path}: {whole.place}: expected names that differ, found {name!r} twice")
        self.entries[name] = _entry(name, whole, own, start, self.path.parent, self.environ)
        return self.entries[name]


def _check_name(table: Table, name: str) -> None:
    try:
        fits = getattr(parse(f"vote(model={name})"), "model", "") == name
    except InputError:
        fits = False
    if not fits:
        raise InputError(
            f"{table.file}: {table.place}: expected a name that arms can write, of letters, digits and _ . : / @ + - "
            f"and no number, found {name!r}"
        )


def _changed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A variant's whole table: its own keys over its base's, tables merged key by key."""
    gone = {key for some in _INSTEAD if set(some) & set(changes) for key in some}
    if _WEIGHTS & set(changes):
        gone |= {"context", "revision", "card"}
    out = {key: value for key, value in base.items() if key not in gone}
    for key, value in changes.items():
        both = key in _TABLES and isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _changed(out[key], value) if both else value
    return out


def _start(table: Table, name: str) -> _Start:
    """The card that a model begins with: the embedded one, the built-in one that it names or is, or an empty one."""
    if table.data.get("engine") == "tiny":
        return _Start(_embedded(table, table.text("model", name)))
    known: Known | None = None
    if "card" in table.data:
        known = find_card(table.text("card"))
        if known is None:
            near = difflib.get_close_matches(table.text("card"), CARDS, n=3, cutoff=0.3)
            raise table.wrong("card", f"a model with a built-in card, such as {', '.join(near) or 'Qwen/Qwen3-4B'}")
    elif "path" not in table.data:
        known = find_card(table.text("model", name))
    return _Start(ModelCard("", "")) if known is None else _Start(known.card, known.context)


def _embedded(table: Table, name: str) -> ModelCard:
    """The card of an embedded model."""
    from autotts.tiny.model import WEIGHTS  # numpy comes with it
    from autotts.worlds.shelf import NAMES, SCORERS, card_of, folder_of

    if name not in (*NAMES, *SCORERS):
        raise table.wrong("model", f"an embedded model, one of {', '.join((*NAMES, *SCORERS))}", repr(name))
    return card_of(folder_of(name, WEIGHTS))


def _embedded_scoring(name: str) -> Scoring | None:
    from autotts.worlds.shelf import SCORERS

    return Scoring("process", "embedded") if name in SCORERS else None


def _entry(name: str, table: Table, own: Table, start: _Start, folder: Path, environ: Mapping[str, str]) -> Entry:
    """One model; `table` are all of its keys, `own` those that are laid over what its card begins with."""
    engine = table.choice("engine", ENGINES, "openai")
    served = _served(table, engine, name, folder)
    context = table.whole("context") or start.context
    most = table.whole("max_tokens")
    if context is not None and most is not None and most > context:
        raise table.wrong("max_tokens", f"at most its context of {context} tokens")
    servers = read_servers(table, folder, environ) if engine == "openai" else ()
    embedded = engine == "tiny"
    for key in table.data:
        if engine != "openai" and key in SERVER_KEYS:
            raise table.wrong(key, f"no server, as engine {engine!r} answers in this process", "one")
        if embedded and key not in _EMBEDDED:
            raise table.wrong(key, f"only {', '.join(_EMBEDDED)} of an embedded model", "more")
    revision = start.card.revision if embedded else table.text("revision", empty=True)
    scoring = _embedded_scoring(served) if embedded else _scoring(table)
    card = read_card(own, start.card, reads=scoring is not None and scoring.kind != "judge")
    return Entry(
        name=name,
        engine=engine,
        served=served,
        card=replace(card, name=card.name if embedded else served, revision=revision),
        servers=servers,
        revision=revision,
        template=_template(table.table("template")),
        thinking=_thinking(table.table("thinking")),
        scoring=scoring,
        max_tokens=most or min(_MAX_TOKENS, context or _MAX_TOKENS),
        context=context,
        extra=_extra(table.table("extra"), engine),
    )


def _served(table: Table, engine: str, name: str, folder: Path) -> str:
    """A model's name on its servers, or the folder of its weights."""
    if "path" not in table.data:
        return table.text("model", name)
    if engine == "openai":
        raise table.wrong("path", f"model, as engine {engine!r} opens no weights", "a path")
    if "model" in table.data:
        raise table.wrong("path", "either model or path", "both")
    path = folder / Path(table.text("path")).expanduser()
    if not path.is_dir():
        raise table.wrong("path", "a folder with a model's weights", f"no folder {path}")
    return str(path)


def _template(table: Table) -> Template:
    table.only(("form", "system", "user", "step", "probe", "stop", "continues"))
    plain = Template()
    user = table.text("user", plain.user)
    if "{prompt}" not in user:
        raise table.wrong("user", "a text with {prompt} in it, where the question goes")
    step = table.text("step", plain.step, empty=True)
    if not step:
        raise table.wrong("step", "a text that ends a step, such as two new lines")
    return Template(
        form=table.choice("form", ("chat", "text"), plain.form),
        system=table.text("system", plain.system, empty=True),
        user=user,
        step=step,
        probe=table.text("probe", plain.probe, empty=True),
        stop=table.texts("stop"),
        continues=table.choice("continues", ("auto", "ids", "text", "message", "none"), plain.continues),
    )


def _thinking(table: Table) -> Thinking:
    table.only(("enabled", "effort", "budget"))
    effort = table.choice("effort", _EFFORTS, "low") if "effort" in table.data else None
    return Thinking(table.flag("enabled"), effort, table.whole("budget", least=0))


def _scoring(table: Table) -> Scoring | None:
    """How a model scores; None of one that draws."""
    given = "scoring" in table.data
    role = table.choice("role", ("draws", "scores"), "scores" if given else "draws")
    if role == "scores" and not given:
        raise table.wrong("scoring", "a table with kind and shape, as the role is scores", "nothing")
    if not given:
        return None
    if role == "draws":
        raise table.wrong("role", "scores, as it has a table scoring")
    own = table.table("scoring")
    for key in ("kind", "shape"):
        if key not in own.data:
            raise own.wrong(key, "it to be given", "nothing")
    options = {key: value for key, value in own.data.items() if key not in ("kind", "shape", "reduce")}
    return Scoring(
        kind=own.choice("kind", ("process", "outcome", "judge"), ""),
        shape=own.text("shape"),
        reduce=own.choice("reduce", ("last", "min", "product", "mean"), "last"),
        options=_plain_values(Table(own.file, own.place, options)),
    )


def _extra(table: Table, engine: str) -> Mapping[str, Any]:
    for key in table.data:
        if engine == "openai" and key.lower() in _TAKEN:
            raise table.wrong(key, "a further field of requests", "one that is set by other means, or that is a secret")
    return _plain_values(table)


def _plain_values(table: Table) -> Mapping[str, Any]:
    """The table's values; they go into JSON, so dates and endless numbers are errors."""
    for key, value in table.data.items():
        if not _plain(value):
            raise table.wrong(key, "what JSON can hold: texts, finite numbers, true or false, lists, tables", "more")
    return MappingProxyType(dict(table.data))


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(x) for x in value.values())
    if isinstance(value, list):
        return all(_plain(x) for x in value)
    return isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))
