"""Tables of models for the terminal: what a file declares, what their servers can, how fast they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from autotts.report.layout import NARROW, plain_text, ruled
from autotts.report.lists import facts
from autotts.report.numbers import NOTHING, count, duration, percent, plain

# What stands above the columns of the table of what servers can.
SHORT: Final[Mapping[str, str]] = {
    "logprobs": "logprobs",
    "n": "n",
    "seed": "seed",
    "continues": "prefix continuation",
    "cancel": "cancel",
    "usage": "usage",
    "running_usage": "usage while it writes",
    "cached": "cached tokens",
    "tokenize": "tokenize",
    "tools": "tools",
    "pooling": "pooling",
    "thinking": "thinking",
    "stop_reason": "stop reason",
    "temperature": "temperature",
}
_WHOLE: Final = 17  # letters of a cell that is not broken into lines
_SIZES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def declared_table(models: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What a file of models declares: a row a model, of `rows_of`."""
    names = ("model", "engine", "role", "size", "context", "answer", "$ in, out", "where")
    table = _Rows(names, tuple(_declared(model) for model in models), right=(3, 4, 5))
    words = "size: parameters; answer: most tokens of one; $: per million tokens, read and written"
    return Group(table, Text(words, style="dim"))


def _declared(model: Mapping[str, Any]) -> tuple[str, ...]:
    prices = [model["usd_prompt"], model["usd_generated"]]
    return (
        plain(model["name"]),
        model["engine"],
        model["role"],
        _size(model["parameters"], model["active_parameters"]),
        count(model["context"]),
        count(model["max_tokens"]),
        NOTHING if None in prices else ", ".join(f"{price:g}" for price in prices),
        ", ".join(_short_address(where) for where in model["where"]),
    )


def _size(whole: int | None, active: int | None) -> str:
    if whole is None:
        return NOTHING
    return _short(whole) + (f" ({_short(active)} active)" if active not in (None, whole) else "")


def _short(number: int | None) -> str:
    for size, letter in _SIZES:
        if number is not None and number >= size:
            return f"{number / size:.3g}{letter}"
    return count(number)


def checked_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Whether each model answers, and how quickly; then what those that do can, and what is switched off."""
    parts: list[RenderableType] = [_answers(rows)]
    for row in rows:
        if row["problem"]:
            parts.append(Text(f"\n{plain(row['model'])}: {plain(row['problem'])}"))
    able = [row for row in rows if row["can"] is not None]
    if able:
        parts += [Text(), _abilities(able), Text("yes: it can; no: it cannot; ?: not known", style="dim")]
    off = _switched_off(able)
    if off:
        parts += [Text("\nSwitched off by what is missing"), Padding(facts(off), (0, 0, 0, 2))]
    return Group(*parts)


def _answers(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    names = ("model", "role", "where", "state", "first", "tokens/s", "score")
    cells = [
        (
            plain(row["model"]),
            row["role"],
            _short_address(row["where"]),
            row["state"],
            NOTHING if row["first_s"] is None else _seconds(row["first_s"]),
            NOTHING if row["tokens_per_s"] is None else f"{row['tokens_per_s']:.3g}",
            NOTHING if row["score"] is None else f"{row['score']:.3g}",
        )
        for row in rows
    ]
    return _Rows(names, tuple(cells), right=(4, 5, 6))


def _short_address(where: str) -> str:
    return plain(where).removeprefix("http://").removesuffix("/v1")


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _abilities(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A column a server, or a list where they are many."""
    heads = [plain(row["model"]) for row in rows]
    twice = {head for head in heads if heads.count(head) > 1}
    names = [
        f"{head} {_short_address(row['where'])}" if head in twice else head
        for head, row in zip(heads, rows, strict=True)
    ]
    cells = [
        (words, *(_can(row["can"], name) for row in rows))
        for name, words in SHORT.items()
        if any(row["can"].get(name) is not None for row in rows)
    ]
    unknown = [words for name, words in SHORT.items() if all(row["can"].get(name) is None for row in rows)]
    table = _Rows(("can it?", *names), tuple(cells), flows=True)
    return Group(table, Text(f"not known: {', '.join(unknown)}", style="dim")) if unknown else table


def _can(can: Mapping[str, Any], name: str) -> str:
    """A cell; nothing where it is of no interest."""
    value = can.get(name)
    if value is None:
        return "?" if name in can else ""
    if isinstance(value, str):
        return "no" if value == "none" else f"yes, by {value}"
    return "yes" if value else "no"


def _switched_off(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A line for each thing that is missing, with the models that miss it."""
    missing: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, words in row["off"].items():
            if not words.startswith("nothing"):
                missing.setdefault((SHORT[name], words), []).append(plain(row["model"]))
    return [
        (f"no {name}", f"{words}: {', '.join(dict.fromkeys(models))}" if len(rows) > 1 else words)
        for (name, words), models in missing.items()
    ]


def judged_table(judged: Sequence[Mapping[str, Any]]) -> RenderableType:
    """How well scorers tell right draws from wrong ones, and warnings of those that should not be trusted."""
    names = ("scorer", "draws of", "right, %", "AUC", "gain, points", "verdict")
    cells = [
        (
            plain(one["scorer"]),
            plain(one["model"]),
            percent(one["right"]),
            _interval(one["within"], 1.0, "{:.2f}"),
            _interval(one["gain"], 100.0, "{:+.1f}"),
            one["verdict"],
        )
        for one in judged
    ]
    warnings = [Text(f"\nwarning: {plain(one['warning'])}") for one in judged if one["warning"]]
    legend = (
        "AUC: how often a right draw scores above a wrong one of the same prompt, 0.5 is chance; gain: the draw that "
        "scores best of each prompt against any"
    )
    return Group(_Rows(names, tuple(cells), right=(2,)), Text(legend, style="dim"), *warnings)


def _interval(found: Mapping[str, float] | None, scale: float, form: str) -> str:
    if found is None:
        return NOTHING
    value, low, high = (form.format(scale * found[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def expected_words(expected: Any) -> str:
    """What a measurement will take, in words."""
    dollars = "" if expected.dollars is None else f", {expected.dollars}"
    return (
        f"{plain(expected.model)} at {plain(expected.where)}: {count(expected.requests)} requests, about "
        f"{count(expected.prompt)} prompt and {count(expected.generated)} generated tokens{dollars}, about "
        f"{duration(expected.seconds)}"
    )


def measured_table(measured: Mapping[str, Any]) -> RenderableType:
    """A measured speed: what it means, how well it fits, and what is to be known of it."""
    speed = measured["latency"]
    rates = measured["tokens_per_s"]
    words = [
        ("model", plain(measured["model"])),
        ("a prompt", f"a {speed['a']:.3g}  b {speed['b']:.3g}  c {speed['c']:.3g}  (a I^2 + b I + c seconds)"),
    ]
    if rates["read"] is not None:
        words.append(("reads", _rate(rates["read"])))
    if "alone" in rates:
        formula = "(n + N (k0 + m context) seconds)"
        words += [
            ("a token", f"n {speed['n']:.3g}  k0 {speed['k0']:.3g}  m {speed['m']:.3g}  {formula}"),
            ("writes", _rate(rates["alone"])),
        ]
        if speed["batch"] > 1:
            words.append((f"{speed['batch']} side by side", _rate(rates["together"])))
    words.append(("fit", _fit(speed, len(measured["records"]))))
    return Group(facts(words), *(Text(f"note: {plain(note)}", style="dim") for note in measured["notes"]))


def _rate(rate: float) -> str:
    return f"{rate:,.3g} tokens/s" if rate < 1000 else f"{rate:,.0f} tokens/s"


def _fit(speed: Mapping[str, Any], records: int) -> str:
    r2 = "" if speed["r2"] is None else f"R2 {speed['r2']:.4f}, "
    return f"{r2}largest relative error {100 * speed['worst']:.0f} % of {count(records)} measurements"


class _Rows:
    """A table, or on a narrow terminal a list with the first column as heads."""

    def __init__(
        self, names: Sequence[str], cells: Sequence[Sequence[str]], *, right: Sequence[int] = (), flows: bool = False
    ) -> None:
        self._names = names
        self._cells = cells
        self._right = right
        self._flows = flows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        used = [i for i in range(len(self._names)) if any(row[i] != NOTHING for row in self._cells)]
        if options.max_width < NARROW:
            for row in self._cells:
                lines = [Text(f"{self._names[i]}: {row[i]}") for i in used[1:] if row[i] != NOTHING]
                yield Group(Text(row[0], style="bold"), Padding(Group(*lines), (0, 0, 0, 2)))
            return
        table = ruled(letters=plain_text(console, options))
        for i in used:
            whole = max(len(row[i]) for row in self._cells) <= _WHOLE
            justify: JustifyMethod = "right" if i in self._right else "left"
            table.add_column(Text(self._names[i]), justify=justify, overflow="fold", no_wrap=whole and not self._flows)
        for row in self._cells:
            table.add_row(*(Text(row[i]) for i in used))
        yield table
