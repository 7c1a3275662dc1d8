"""Served prompts beside those of a study: what parts, what does not, and what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest

from autotts.errors import InputError
from autotts.policy.drift import BLOCK, BLOCKS, EVERY, FIRST, Drift, Watch
from autotts.policy.schema import Policy
from autotts.policy.seen import Seen, seen
from autotts.predict.levels import LevelModel
from autotts.tasks.arithmetic import MIX, problems
from tests.policy.policies import BINS, LEVELS, MODEL, policy_data


def of_study(model: LevelModel | None = MODEL) -> Seen:
    drawn = [p.prompt for level in LEVELS for p in problems(level, "search", 0, 80)]
    return seen(drawn, [1.0] * len(drawn), model, BINS)


def served(counts: dict[int, int], seed: int = 5) -> list[str]:
    """Prompts of some levels, well mixed."""
    drawn = [p.prompt for level, count in counts.items() for p in problems(level, "confirm", seed, count)]
    return [drawn[i * 7919 % len(drawn)] for i in range(len(drawn))]


def changes(watch: Watch, prompts: Sequence[str]) -> Iterator[Drift]:
    for prompt in prompts:
        found = watch.add(prompt, dict(zip(BINS, MODEL.table([prompt])[0].tolist(), strict=True)))
        if found is not None:
            yield found


def test_prompts_of_the_same_task_do_not_part() -> None:
    watch = Watch(of_study())
    assert list(changes(watch, served(dict.fromkeys(LEVELS, 200)))) == []
    assert watch.drift.known and not watch.drift.parted
    assert 0 < max(watch.drift.scores.values()) < 1
    assert watch.drift.prompts == 600


@pytest.mark.parametrize(
    ("what", "feature"),
    [
        (served({1: 20, 3: 20, 5: 260}), "bin:L5"),
        ([f"{p} " * 12 for p in served(dict.fromkeys(LEVELS, 100))], "log_chars"),
        ([f"реши: {p[7:]}" for p in served(dict.fromkeys(LEVELS, 100))], "foreign"),
    ],
    ids=["another mix of levels", "longer", "another language"],
)
def test_other_prompts_part_at_the_first_look(what: list[str], feature: str) -> None:
    watch = Watch(of_study())
    [found] = changes(watch, what[: FIRST * BLOCK])
    assert found.parted and found is watch.drift
    assert feature in [name for name, score in found.scores.items() if score > 1]
    assert found.worst[0] in found.words and "%" in found.words


def test_it_is_said_once_and_again_when_they_agree() -> None:
    watch = Watch(of_study())
    other = [p * 5 for p in served(dict.fromkeys(LEVELS, 100))]
    told = list(changes(watch, [*other, *served(dict.fromkeys(LEVELS, 2000))]))
    assert [drift.parted for drift in told] == [True, False]
    assert "look like" in told[1].words


def test_a_full_window_forgets_and_looks_at_every_fourth() -> None:
    watch = Watch(of_study())
    like = served(dict.fromkeys(LEVELS, 400))
    assert list(changes(watch, like)) == []
    assert watch.drift.prompts == BLOCK * BLOCKS
    longer = [p * 5 for p in like]
    told = list(changes(watch, longer))
    assert [drift.parted for drift in told] == [True]
    few = list(changes(Watch(of_study()), [*like, *longer[: EVERY * BLOCK - 1 - 200]]))
    assert few == []


def test_what_is_below_the_least_seen_is_different_too() -> None:
    watch = Watch(of_study(None))
    [found] = changes(watch, ["1+1"] * FIRST * BLOCK)
    assert "log_chars" in [name for name, score in found.scores.items() if score > 1]


def test_a_mix_of_levels_is_weighed_as_the_traffic_is() -> None:
    drawn = [p for level in MIX for p in problems(level, "search", 0, 60)]
    weights = [MIX[p.level or 0] for p in drawn]
    counts = {level: round(1000 * share) for level, share in MIX.items()}
    like = served(counts)
    for given, parts in ((weights, False), ([1.0] * len(drawn), True)):
        watch = Watch(seen([p.prompt for p in drawn], given, None, ["all"]))
        list(changes(watch, like))
        assert watch.drift.parted is parts


@pytest.mark.parametrize(
    ("known", "word"),
    [
        (None, "does not say"),
        (seen(["1+1"] * 19, [1.0] * 19, None, ["all"]), "19 prompts"),
        (seen([], [], None, ["all"]), "0 prompts"),
        (of_study().model_copy(update={"version": 99}), "version 99"),
    ],
    ids=["old policy", "few", "none", "newer features"],
)
def test_what_cannot_be_compared_is_unknown(known: Seen | None, word: str) -> None:
    watch = Watch(known)
    assert list(changes(watch, ["x"] * 300)) == []
    assert not watch.drift.known and not watch.drift.parted
    assert word in watch.drift.words


def test_a_policy_keeps_it_and_routes_as_before() -> None:
    data = policy_data()
    without = Policy.loads(json.dumps(data))
    assert without.seen is None and '"seen"' not in without.dumps()
    with_it = Policy.loads(json.dumps(data | {"seen": of_study().model_dump()}))
    assert with_it.digest == without.digest
    again = Policy.loads(with_it.dumps())
    assert again.seen == of_study()
    assert again.dumps() == with_it.dumps()


@pytest.mark.parametrize(
    "wrong",
    [
        {"edges": []},
        {"upto": [[0.5]]},
        {"edges": [[1.0, 1.0]] * 31},
        {"features": ["plus"] * 31},
        {"n": -1.0},
        {"prompts": "many"},
    ],
)
def test_what_is_wrong_in_the_file_is_told(wrong: dict[str, object]) -> None:
    data = policy_data() | {"seen": of_study().model_dump() | wrong}
    with pytest.raises(InputError, match="seen"):
        Policy.loads(json.dumps(data))
