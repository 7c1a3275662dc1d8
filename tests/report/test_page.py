"""The page shows everything of a result, loads nothing, and takes no name for markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from autotts.errors import InputError
from autotts.report.page import write_page
from tests.report import synthetic

CASES = (
    "result",
    "hostile",
    "without_levels",
    "bare",
    "nulls",
    "pooled",
    "by_prompt",
    "partly_pooled",
    "hostile_pooled",
)


class Seen(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.json = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = "json" if ("type", "application/json") in attrs else tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "json":
            self.json += data
        elif not self._inside:
            self.text.append(data)


def page(result: dict[str, Any], folder: Path) -> Seen:
    write_page(result, folder / "report.html")
    seen = Seen()
    seen.feed((folder / "report.html").read_text(encoding="utf-8"))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_loads_nothing_and_draws_where_there_is_a_place(case: str, tmp_path: Path) -> None:
    seen = page(getattr(synthetic, case)(), tmp_path)
    assert not [t for t in seen.tags if t[0] in ("link", "img", "iframe", "object", "base")]
    assert not [a for _, a in seen.tags if "src" in a or "href" in a or any(name.startswith("on") for name in a)]
    places = {a["id"] for _, a in seen.tags if "id" in a}
    figures = json.loads(seen.json)
    assert set(figures) == places - {"figures"}
    assert len([t for t, _ in seen.tags if t == "script"]) == 3


def test_tells_all_of_the_result(tmp_path: Path) -> None:
    result = synthetic.result()
    seen = page(result, tmp_path)
    text = " ".join(" ".join(seen.text).replace("\xa0", " ").split())
    for baseline in result["baselines"]:
        assert baseline["name"] in text
    for step in result["frontier"]:
        assert f"{step['budget'] / 1e6:g} Mflops" in text
    for arms in result["policy"]["route"].values():
        assert all(arm in text for arm, _ in arms)
    for words in (
        result["verdict"],
        result["budget"]["words"],
        result["provenance"]["command"],
        "92.6 %",
        "1.22 Gflops",
    ):
        assert words in text
    assert set(json.loads(seen.json)) == {"frontier", "differences", *(f"level-{i}" for i in range(5))}


def test_tells_what_a_study_on_recorded_answers_adds(tmp_path: Path) -> None:
    seen = page(synthetic.pooled(), tmp_path)
    text = " ".join(" ".join(seen.text).replace("\xa0", " ").split())
    for piece in (
        "against the mixture at its cost, points",
        "sequential tokens",
        "14,321",
        "+1.3 (-0.4 to +3.1)",
        "headroom, points",
        "35 (15 to 60)",
        "Choosing between two models",
        "0.598 (0.567 to 0.629)",
        "attention is not counted",
        "250 prompts, each answered by a policy chosen on the others: 5 folds, cut 8 times",
        "logs/aime24.jsonl.gz",
        "S, M, L@high",
    ):
        assert piece in text
    for absent in ("held-out", "held out", "answered afresh", "the search prompts", "fresh draws", ", - reused"):
        assert absent not in text
    labels = [column["data-name"] for tag, column in seen.tags if tag == "td" and "data-name" in column]
    assert "ours minus it, points" not in labels


def test_tells_how_prompts_are_told_apart(tmp_path: Path) -> None:
    text = " ".join(" ".join(page(synthetic.by_prompt(), tmp_path).text).replace("\xa0", " ").split())
    for piece in (
        "How prompts are told apart routing by prompt is taken",
        "routing by prompt in 4, none of these in 1",
        "logistic, chosen 0.5813 1.4 +0.0310 (+0.0210 to +0.0410)",
        "shares are those expected over prompts",
    ):
        assert piece in text
    assert "predicted level" not in text and "The level is predicted" not in text
    alike = " ".join(page(synthetic.told_alike(), tmp_path).text)
    assert "prompts are not told apart here, all are treated alike" in alike


def test_what_is_not_there_has_no_place(tmp_path: Path) -> None:
    text = "".join(page(synthetic.result(), tmp_path).text)
    pooled = ("sequential", "against the mixture", "headroom", "captured", "APGR", "recorded answers")
    for absent in (*pooled, "prompts are told apart"):
        assert absent not in text


def test_a_name_is_never_markup(tmp_path: Path) -> None:
    seen = page(synthetic.hostile(), tmp_path)
    assert "<script>alert('x')</script>" in "".join(seen.text)
    assert "img" not in {t for t, _ in seen.tags}
    # Plotly reads a part of HTML in its labels, so there the brackets must be entities.
    assert "<script" not in seen.json
    assert "alert" in seen.json
    labels = json.dumps(json.loads(seen.json))
    assert "&lt;script&gt;" in labels
    assert "<script" not in labels
    assert "".join(page(synthetic.hostile_pooled(), tmp_path).text).count("<script>alert('x')</script>") == 10


@pytest.mark.parametrize("case", CASES)
def test_figures_are_valid_for_plotly(case: str, tmp_path: Path) -> None:
    import plotly.graph_objects as go

    for figure in json.loads(page(getattr(synthetic, case)(), tmp_path).json).values():
        go.Figure(figure)


def test_an_empty_result_says_that_nothing_was_measured(tmp_path: Path) -> None:
    seen = page(synthetic.bare(), tmp_path)
    assert "not measured" in seen.text
    assert json.loads(seen.json) == {}


def test_budgets_that_read_the_same_keep_their_own_rows(tmp_path: Path) -> None:
    result = synthetic.result()
    for step in result["frontier"]:
        step["budget"] = 1e6
    trace = json.loads(page(result, tmp_path).json)["differences"]["data"][0]
    assert len(set(trace["y"])) == 5


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"format": "autotts.result/9"}, "autotts.result/9"),
        ({"frontier": [{"budget": "much"}]}, "frontier.0.budget"),
        ({"levels": 3}, "levels"),
    ],
)
def test_what_is_no_result_is_named(change: dict[str, Any], names: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(names)):
        write_page(synthetic.result() | change, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere"):
        write_page(synthetic.bare(), tmp_path / "nowhere" / "report.html")
