"""Numbers and names as people read them; costs through `core.cost.show`."""

from __future__ import annotations

import math
import unicodedata

from autotts.core.cost import PARTS, show

NOTHING = "-"


def plain(text: str) -> str:
    """The text on one line, without control characters (an arm's name may come from anywhere).

    Examples
    --------
    >>> plain("a\\x1b[31mb\\nc")
    'a?[31mb c'
    """
    spaced = " ".join(text.split())
    return "".join("?" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in spaced)


def percent(share: float | None) -> str:
    """A share in percent, without the sign: 0.931 is `93.1`."""
    return NOTHING if share is None else f"{100 * share:.1f}"


def signed(share: float | None) -> str:
    """A difference of shares in points, with its sign."""
    if share is None:
        return NOTHING
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def amount(parts: float | None, unit: str) -> str:
    """So much of a unit: `51.2 Mflops`."""
    if parts is None:
        return NOTHING
    return show(parts, unit) if unit in PARTS else f"{parts:.3g} {unit}".rstrip()


def short(parts: float | None, unit: str) -> str:
    """The same without the unit's name, for columns and axes that state it: `51.2 M`."""
    text = amount(parts, unit)
    return text.removesuffix(unit).rstrip() if unit else text


def count(number: float | None) -> str:
    """A whole number with its thousands apart: `12,345`."""
    return NOTHING if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `2 h 10 min`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def level_name(bin_name: str) -> str:
    """`1` is level 1, `all` is all prompts; any other name stays."""
    if bin_name == "all":
        return "all prompts"
    return f"level {bin_name}" if bin_name.isdigit() else plain(bin_name)


def share_text(share: float | None) -> str:
    """A share of prompts, exact enough that a small one does not read as none: `35 %`."""
    if share is None:
        return NOTHING
    value = 100 * share
    if 0 < value < 0.5:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if 99.5 < value < 100 else f"{value:.0f} %"
