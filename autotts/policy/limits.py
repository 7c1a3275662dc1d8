"""How large a policy may be, so that a hostile file is refused before it takes time or memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

DEEPEST: Final = 60  # objects and lists inside each other
MOST: Final = 2_000_000  # values of a whole file
LONGEST: Final[Mapping[tuple[str, ...], int]] = {  # entries of what is read and checked one by one
    ("requires",): 100,
    ("models",): 1_000,
    ("scorers",): 1_000,
    ("arms",): 10_000,
    ("frontier",): 10_000,
    ("difficulty", "bins"): 1_000,
    ("difficulty", "performance", "arms"): 2_000,
    ("difficulty", "performance", "members"): 100,
}
ROUTES: Final = 100_000  # bins and shares of all settings together


def problems(data: Mapping[str, Any]) -> Iterator[str]:
    """What is too much in the plain data of a policy, in words."""
    for place, most in LONGEST.items():
        found = _length(data, place)
        if found > most:
            yield f"{'.'.join(place)}: expected at most {most:,} entries, found {found:,}"
    routes = _routes(data.get("frontier"))
    if routes > ROUTES:
        yield f"frontier: expected at most {ROUTES:,} bins and shares in all its routes, found {routes:,}"
    yield from _whole(data)


def _length(data: Any, place: tuple[str, ...]) -> int:
    for key in place:
        data = data.get(key) if isinstance(data, dict) else None
    return len(data) if isinstance(data, dict | list) else 0


def _routes(frontier: Any) -> int:
    found = 0
    for setting in frontier if isinstance(frontier, list) else []:
        route = setting.get("route") if isinstance(setting, dict) else None
        for shares in route.values() if isinstance(route, dict) else []:
            found += 1 + (len(shares) if isinstance(shares, list) else 0)
    return found


def _whole(data: Any) -> Iterator[str]:
    """The depth and the number of all values, layer by layer."""
    layer, found = [data], 0
    for _ in range(DEEPEST):
        inner = [value for here in layer for value in (here.values() if isinstance(here, dict) else here)]
        found += len(inner)
        if found > MOST:
            yield f"expected at most {MOST:,} values in the file, found more"
            return
        layer = [value for value in inner if isinstance(value, dict | list)]
        if not layer:
            return
    yield f"expected at most {DEEPEST} objects and lists inside each other, found more (it is nested too deeply)"
