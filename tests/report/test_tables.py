"""Tables fit the width they are given, tell everything, and stay letters where there is no terminal."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from random import Random
from typing import Annotated

import pytest
from rich.console import Console, RenderableType

from autotts.core.node import Node
from autotts.core.plan import Plan
from autotts.core.strategy import Options, Range, Role
from autotts.core.task import Problem, Task
from autotts.report.lists import (
    Answer,
    Card,
    Estimate,
    answer_table,
    estimate_table,
    models_table,
    strategies_table,
    task_examples,
    tasks_table,
)
from autotts.report.result import Interval
from autotts.report.tables import result_table
from autotts.report.words import captured, words
from tests.report import synthetic

WIDTHS = (40, 80, 120)
POOLED = ("pooled", "partly_pooled", "hostile_pooled", "by_prompt", "told_alike")


@dataclass(frozen=True)
class Poll:
    """The answer that most of n draws give.

    More words that the list does not show.
    """

    n: Annotated[int, Range(1, 64, grid=(1, 4, 16), log=True, about="draws")] = 8
    how: Annotated[str, Options(("most", "weighted"))] = "most"
    model: Annotated[str, Role("policy")] = "S"

    def plan(self, root: Node, rng: Random) -> Plan:
        raise NotImplementedError


TASK = Task(
    "math", "sums and products [really]", "number", "exact", {1: 0.7, 2: 0.3},
    lambda stream, level, count, seed: [], str, lambda a, b: a == b,
)  # fmt: skip
CARDS = (
    Card("S", "policy", 300_000, {"1": 0.97, "2": 0.8, "3": 0.5, "4": 0.3, "5": 0.1}, "Apache-2.0"),
    Card("someone/a-model-of-a-rather-long-name-7B-instruct", "policy", None, {}, ""),
)
LISTS: dict[str, RenderableType] = {
    "models": models_table(CARDS),
    "strategies": strategies_table({"poll": Poll}),
    "tasks": tasks_table([TASK]),
    "examples": task_examples(TASK, [Problem("a", "1+1", "2", 1), Problem("b", "what is " + "x" * 200, "y")]),
    "estimate": estimate_table(Estimate(300, 250, 61234, 2.81e6, 1.62e13, "flops", 83.4)),
    "answer": answer_table(Answer("15", "vote(n=8, model=S, temperature=0.8)", 8, 7.2e6, "flops", "3", "cap")),
}


def printed(renderable: RenderableType, width: int, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None)
    console.print(renderable)
    return stream.getvalue()


def told(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", (40, 60, 80, 100, 140))
@pytest.mark.parametrize("case", ["result", "hostile", "without_levels", "bare", "nulls", *POOLED])
def test_result_table_fits_and_is_plain_letters(case: str, width: int) -> None:
    text = printed(result_table(getattr(synthetic, case)()), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_result_table_tells_all_at_any_width(width: int) -> None:
    result = synthetic.result()
    text = printed(result_table(result), width)
    together = told(text)
    for row in (*result["baselines"], result):
        value = 100 * row["accuracy"]["value"]
        assert f"{value:.1f} (" in together
    assert "+20.3 (+18.7 to +22.0)" in together
    assert "1.22 G" in together
    assert "-0.5 (-2.1 to +1.2)" in together
    assert "250 prompts" in together
    assert "* true levels (oracle): cannot be had in service" in together
    for budget in ("15 M", "40 M", "100 M", "250 M", "700 M"):
        assert budget in together
    assert "70 % one(model=M," in together


@pytest.mark.parametrize("width", (60, 80, 100, 140))
def test_a_study_on_recorded_answers_is_compared_at_equal_cost(width: int) -> None:
    text = told(printed(result_table(synthetic.pooled()), width))
    for piece in (
        "On 250 prompts, each answered by a policy chosen on the others, 92.6 % of the answers are right",
        "note: prompt tokens are not recorded: what prompts cost is left out",
        "than the best mixture of arms that is drawn by lot at the same cost",
        "+1.3 (-0.4 to +3.1)",
        "-2.0 (",
        "The weak and the strong model are S (63.7 % right) and L (85.8 % right)",
        "0.598 (0.567 to 0.629)",
        "+5.5",
    ):
        assert piece in text
    assert "held-out" not in text
    assert "ours minus it" not in text.replace("ours minus it is", "")
    assert ("sequential" in text) == ("14,321" in text) == (width >= 100)
    assert ("35 (15 to 60)" in text) == (width != 80)


@pytest.mark.parametrize("width", (40, 60, 80, 100))
def test_how_prompts_are_told_apart_is_told_once_with_what_each_candidate_predicts(width: int) -> None:
    result = synthetic.by_prompt()
    text = told(printed(result_table(result), width))
    for piece in (
        "Each fold decided for itself, on its own prompts: routing by prompt in 4, none of these in 1",
        "The predictor, learned from 250 prompts and 7 arms, is of the kind logistic: logistic saves 0.0310",
        "0.6123",
        "0.5813",
        "1.4",
        "+0.0310 (+0.0210 to +0.0410)",
        "0.0000 (0.0000 to 0.0000)",
        "Who gets what (shares expected over prompts; each prompt gets its own arm)",
        "70 % one(model=S,",
    ):
        assert piece in text
    assert text.count("routing by prompt is taken") == 1
    assert "as predicted" not in text
    section = text[text.index("How prompts are told apart") :]
    places = [
        section.index(name) for name in ("constant 0.6" if width > 60 else "constant log", "length ", "logistic, c")
    ]
    assert places == sorted(places)


def test_prompts_that_are_not_told_apart_are_no_predicted_levels() -> None:
    text = told(printed(result_table(synthetic.told_alike()), 100))
    assert "Who gets what (prompts are not told apart)" in text and "constant, chosen - - -" in text
    assert "Each fold" not in text
    assert "How prompts are told apart" not in printed(result_table(synthetic.result()), 100)


def test_what_became_of_proposals_is_one_line() -> None:
    result = synthetic.result()
    result["trials"] |= {"skipped": 12, "refused": 2}
    assert "tried:" not in printed(result_table(result), 300)
    result["proposed"] = {"by": {"bo": {"proposed": 20}}, "notes": ["bo: prompts\nare few"]}
    found = [line for line in printed(result_table(result), 300).splitlines() if line.startswith("tried:")]
    fates = (
        "tried: 118 raced, 12 skipped for what was predicted, 41 stopped in their race, 2 proposals refused, 164 free"
    )
    assert [line.rstrip() for line in found] == [f"{fates}; bo: prompts are few"]


def test_headroom_is_the_oracle_minus_the_mixture_and_unknown_ones_are_dashes() -> None:
    result = synthetic.partly_pooled()
    result["frontier"][2]["oracle"]["accuracy"]["value"] = result["frontier"][2]["uniform"]["accuracy"]["value"] + 0.1
    lines = printed(result_table(result), 100).splitlines()
    rows = {
        budget: next(line for line in lines if line.strip().startswith(budget)) for budget in ("15 M", "40 M", "100 M")
    }
    assert rows["15 M"].split()[-2:] == ["-", "-"]
    assert rows["40 M"].split()[-2:] == ["+5.5", "-"]
    assert "+10.0" in rows["100 M"]


@pytest.mark.parametrize(("share", "shown"), [(-0.001, "0"), (0.349, "35"), (None, "-"), (-0.1, "-10")])
def test_a_share_of_the_headroom_is_a_whole_percent(share: float | None, shown: str) -> None:
    assert captured(Interval(value=share)) == shown


def test_a_terminal_gets_colours_and_the_same_words() -> None:
    text = printed(result_table(synthetic.result()), 80, terminal=True)
    assert "\x1b[32m" in text
    assert "our policy" in text


def test_names_are_neither_rich_markup_nor_escape_codes() -> None:
    text = printed(result_table(synthetic.hostile()), 80, terminal=True)
    assert "[red]" in text
    assert "\x1b[31ma" not in text


def test_words_say_what_binds_and_whether_adapting_pays() -> None:
    result = synthetic.result()
    said = words(result)
    assert said.startswith("On 250 held-out prompts the policy is right on 92.6 % (95 % interval 90.0 to 95.2)")
    assert "ours minus it is +1.4 (-0.2 to +3.1) points." in said
    assert result["budget"]["words"] + "." in said
    assert said.endswith(result["verdict"])
    assert "1e8flops binds." in words(synthetic.without_levels())
    assert words(synthetic.bare()) == "The policy was not confirmed on held-out prompts, so no accuracy is stated."


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", LISTS)
def test_lists_fit(name: str, width: int) -> None:
    text = printed(LISTS[name], width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.isascii()


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("models", ["300 k", "Apache-2.0", "4:30.0 5:10.0", "someone/a-model-of-a-rather-long-name"]),
        (
            "strategies",
            ["poll The answer that most of n draws give.", "whole number 1 to 64, default 8, tried at 1 4 16; draws",
             "one of most, weighted, default most", "name of a model, default S"],
        ),
        ("tasks", ["sums and products [really]", "level 1 70 %, level 2 30 %"]),
        ("examples", ["level 1", "answer: 2", "1+1"]),
        ("estimate", ["300 to search on, 250 held out", "about 61,000", "about 16 Tflops", "about 1 min 23 s"]),
        ("answer", ["answer 15", "level 3 (predicted) arm", "7.2 Mflops", "ended cap"]),
    ],
)  # fmt: skip
def test_lists_tell(name: str, pieces: list[str]) -> None:
    text = told(printed(LISTS[name], 120))
    for piece in pieces:
        assert piece in text
    assert "More words" not in text


def test_importing_the_room_loads_no_figures() -> None:
    code = (
        "import sys, autotts.report, autotts.report.tables, autotts.report.lists, autotts.report.progress, "
        "autotts.report.page, autotts.report.pools; "
        "sys.exit(bool({'plotly', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
