"""The ready models of the fake server: they solve, score and judge as well as they say, and repeat themselves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.errors import InputError
from autotts.worlds.fake_server import FakeModel, FakeServer, Judge, Scorer, Solver, echo, sums
from autotts.worlds.fake_server.judging import on_track
from autotts.worlds.fake_server.text import pieces

EASY, HARD = "What is 3 + 4?", "What is 35 + 48 * 12 - 7?"


def right(solver: Solver, question: str, temperature: float = 1.0, count: int = 400) -> float:
    texts = [solver(question, "", seed, temperature, 1.0) for seed in range(count)]
    return sum(on_track(question + text) for text in texts) / count


@pytest.mark.parametrize(
    ("text", "asked", "value"),
    [
        ("What is 12 + 30?", "12 + 30", 42),
        ("solve: 80+5*9-63", "80+5*9-63", 62),
        ("Calculate 2 - -1.", "2 - -1", 3),
        ("State the answer of 4 - 1 - 7 = now", "4 - 1 - 7", -4),
        ("On 3 days, what is -2 × (3 - (4 + 1))?", "-2 × (3 - (4 + 1))", 4),
    ],
)
def test_sums_are_found_and_valued(text: str, asked: str, value: int) -> None:
    assert sums.find(text) == asked
    assert sums.value(asked) == value


def test_a_text_without_a_sum_has_none() -> None:
    assert sums.find("Who wrote the 3 books of 1984, and why?") is None
    assert "\\boxed{" in Solver()("Who are you?", "", 1, 1.0, 1.0)


def test_a_solver_works_in_paragraphs_to_a_boxed_answer() -> None:
    text = Solver(1.0, wordy=0.0)("What is 80 + 5 * 9?", "", 0, 1.0, 1.0)
    assert text.split("\n\n") == [
        "First, 5 * 9 = 45. That leaves 80 + 45.",
        "Then 80 + 45 = 125. That leaves 125.",
        "The answer is \\boxed{125}.",
    ]


def test_skill_difficulty_temperature_and_thinking_decide_how_often_a_solver_is_right() -> None:
    assert right(Solver(1.0), HARD) == 1.0
    assert right(Solver(0.95), HARD) > right(Solver(0.8), HARD) + 0.1
    assert right(Solver(0.8), EASY) > right(Solver(0.8), HARD) + 0.1
    assert right(Solver(0.8), HARD, temperature=0.2) > right(Solver(0.8), HARD) + 0.03
    thought = "<think>\n" + "so " * 60 + "\n</think>\n\n"
    texts = [Solver(0.8)(HARD, thought, seed, 1.0, 1.0) for seed in range(400)]
    assert sum(on_track(HARD + text) for text in texts) / 400 > right(Solver(0.8), HARD) + 0.1


def test_wrong_answers_are_spread_and_lengths_vary() -> None:
    texts = [Solver(0.7)(HARD, "", seed, 1.0, 1.0) for seed in range(200)]
    answers = [text.partition("boxed{")[2] for text in texts]
    assert len(set(answers)) > 15
    assert max(answers.count(answer) for answer in set(answers) if not on_track(HARD + "\\boxed{" + answer)) < 30
    assert len({len(pieces(text)) for text in texts}) >= 3


def test_at_temperature_0_the_seed_does_not_matter() -> None:
    assert len({Solver(0.7)(HARD, "", seed, 0.0, 1.0) for seed in range(20)}) == 1
    assert len({Solver(0.7)(HARD, "", seed, 1.0, 1.0) for seed in range(20)}) > 5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_solver_goes_on_from_any_token_as_it_would_have(temperature: float) -> None:
    for seed in range(10):
        whole = Solver(0.6, wordy=0.5)(HARD, "", seed, temperature, 1.0)
        for cut in range(len(pieces(whole)) + 1):
            begun = "".join(pieces(whole)[:cut])
            assert Solver(0.6, wordy=0.5)(HARD, begun, seed, temperature, 1.0) == whole
            in_text = f"{HARD}\nShow your steps.\n{begun}"
            assert begun + Solver(0.6, wordy=0.5)(in_text, "", seed, temperature, 1.0) == whole


def test_a_solver_goes_on_from_a_wrong_step_and_answers_a_probe() -> None:
    solver = Solver(1.0, wordy=0.0)
    begun = "First, 48 * 12 = 570. That leaves 35 + 570 - 7."
    assert solver(HARD, begun, 0, 1.0, 1.0).endswith("boxed{598}.")
    probed = begun + "\n\nFinal answer: \\boxed{"
    assert solver(HARD, probed, 0, 1.0, 1.0) == probed + "598}."
    assert solver(HARD, begun + "\n\nSo the answer is", 0, 1.0, 1.0).endswith("So the answer is \\boxed{598}.")
    assert solver(HARD, begun + "\n\nWait,", 0, 1.0, 1.0).startswith(begun + "\n\nWait,")
    done = solver(HARD, "", 0, 1.0, 1.0)
    assert solver(HARD, done, 0, 1.0, 1.0) == done
    early = [Solver(0.95)(HARD, "\\boxed{", seed, 1.0, 1.0) for seed in range(200)]
    late = [
        Solver(0.95)(HARD, "First, 48 * 12 = 576. That leaves 35 + 576 - 7.\n\n\\boxed{", s, 1.0, 1.0)
        for s in range(200)
    ]
    assert sum("{604}" in text for text in late) > sum("{604}" in text for text in early) + 20


@pytest.mark.parametrize("auc", [0.55, 0.75, 0.95])
def test_a_scorer_is_as_informative_as_it_says(auc: float) -> None:
    good, bad = [], []
    for i in range(800):
        question = f"What is {i + 10} + 5?"
        good.append(Scorer(auc).logit(f"{question} \\boxed{{{i + 15}}}"))
        bad.append(Scorer(auc).logit(f"{question} \\boxed{{{i + 16}}}"))
    above = sum(one > other for one in good for other in bad) / len(good) / len(bad)
    assert above == pytest.approx(auc, abs=0.04)


def test_a_scorer_has_rows_for_steps_tokens_or_the_whole() -> None:
    text = "What is 1 + 2 + 4? First, 1 + 2 = 3. That leaves 3 + 4.<extra_0>Then 3 + 4 = 7. That leaves 7.<extra_0>"
    rows = Scorer(per="step", classes=2)(pieces(text))
    assert len(rows) == 2 and all(row[0] == -row[1] for row in rows)
    assert Scorer(per="step", classes=2, right=0)(pieces(text)) == [row[::-1] for row in rows]
    assert Scorer(per="step")(pieces("no mark")) == []
    lines = Scorer(per="token")(pieces("What is 1 + 2?\nFirst, 1 + 2 = 3.\n"))
    assert [row != [0.0] for row in lines] == [
        token.endswith("\n") for token in pieces("What is 1 + 2?\nFirst, 1 + 2 = 3.\n")
    ]
    assert len(Scorer()(pieces(text))) == 1
    for wrong in ({"auc": 0.0}, {"per": "letter"}, {"classes": 3}, {"mark": ""}):
        with pytest.raises(InputError):
            Scorer(**wrong)


def test_a_judge_answers_in_the_form_that_it_is_asked_for() -> None:
    judge = Judge(Scorer(auc=1.0))

    def asked(example: str, **texts: str) -> dict[str, Any]:
        parts = [f"{name}:\n<<<a1b2\n{text}\na1b2>>>" for name, text in {"Question": EASY, **texts}.items()]
        return dict(json.loads(judge("\n\n".join([*parts, example]), "", 0, 0.0, 1.0)))

    good, bad = "It is \\boxed{7}.", "It is \\boxed{8}."
    best = asked('"score": <1 to 10>', Answer=good)
    assert best["tag"] == "a1b2" and best["score"] > asked('"score": <1 to 10>', Answer=bad)["score"]
    assert asked("", **{"Answer A": bad, "Answer B": good})["better"] == "B"
    assert asked("", **{"Answer A": good, "Answer B": bad})["better"] == "A"
    assert asked('"kept": [<true or false, 3 in all>]', Answer=good)["kept"] == [True] * 3
    assert judge(f"Is it right? {EASY} {good}", "", 0, 0.0, 1.0) == "Verdict: correct"
    assert judge(f"Is it right? {EASY} {bad}", "", 0, 0.0, 1.0) == "Verdict: incorrect"
    assert json.loads(judge(f"Answer in JSON. {EASY} {bad}", "", 0, 0.0, 1.0)) == {"verdict": "incorrect"}


def test_a_model_needs_a_name_of_its_own_and_something_to_say() -> None:
    with pytest.raises(InputError):
        FakeModel("mute")
    with pytest.raises(InputError):
        FakeServer([])
    with pytest.raises(InputError):
        FakeServer([FakeModel("a", echo("x")), FakeModel("a", echo("y"))])


# ---------------------------------------------------------------- as the worlds ask them


SHAPES = [
    ("process", "qwen-prm", {}, FakeModel("s", marks=Scorer(auc=1.0, per="step", classes=2))),
    ("process", "math-shepherd", {"path": "pooling"}, FakeModel("s", marks=Scorer(1.0, "step", "ки", 2, right=0))),
    (
        "process",
        "math-shepherd",
        {},
        FakeModel("s", script=Scorer(1.0, "step", "ки").says, prefers=Scorer(1.0, "step", "ки").prefers),
    ),
    ("process", "rlhflow", {}, FakeModel("s", script=Scorer(1.0).says, prefers=Scorer(1.0).prefers)),
    ("process", "skywork-prm", {"begin": ""}, FakeModel("s", marks=Scorer(1.0, "token"))),
    ("outcome", "classify", {}, FakeModel("s", marks=Scorer(1.0))),
    ("outcome", "pooling", {}, FakeModel("s", marks=Scorer(1.0))),
    ("judge", "score", {}, FakeModel("s", script=Judge(Scorer(1.0)))),
]


@pytest.mark.parametrize(("kind", "shape", "options", "model"), SHAPES, ids=lambda value: str(value)[:16])
def test_the_known_shapes_of_scorers_can_be_asked(kind: str, shape: str, options: Any, model: FakeModel) -> None:
    import httpx

    from autotts.worlds.models.entry import Entry, Scoring
    from autotts.worlds.scoring import Text, mark

    entry = Entry("s", "openai", "s", ModelCard("s", "1"), scoring=Scoring(kind, shape, options=options))

    async def run() -> list[float]:
        async with FakeServer([model]) as server, httpx.AsyncClient(base_url=server.url, verify=False) as client:

            async def ask(path: str, form: Any) -> dict[str, Any]:
                answer = await client.post(path, json=dict(form))
                assert answer.status_code == 200, answer.text
                return dict(answer.json())

            steps = "First, 3 + 4 = {0}. That leaves {0}.\n\nThe answer is \\boxed{{{0}}}."
            found = [
                await mark(entry, Text(EASY, steps.format(value), True, "\n\n"), ask, seed=1) for value in ("7", "8")
            ]
            assert all(one.usage.prompt for one in found)
            return [one.value for one in found]

    good, bad = asyncio.run(run())
    assert good > 0.5 > bad
