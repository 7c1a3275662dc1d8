"""False alarms and detection of other prompts: `python -m tests.benchmarks.drift [runs]`, about 10 minutes for 100.

Prompts of one task are served to the watch of a study that drew its own prompts of the same task, 10,000 in each run;
every fifteenth run has a study of its own. "texts" are made up: words, numbers and lines in random numbers. Then other
prompts come to a watch that has seen nothing, and to one that has seen 5,000 like those of the study; the columns say
in how many runs it was told within 5,000, and after how many prompts in the median run.
"""

import sys
import timeit

import numpy as np

from autotts.policy.drift import Watch
from autotts.policy.seen import seen
from autotts.predict.levels import fit
from autotts.tasks.arithmetic import LEVELS, MIX, problems

SERVED = 10_000
SOON = 5_000
A_STUDY = 15  # runs
EACH = 2_000  # fresh prompts of a level, from which served ones are drawn
NAMES = [str(level) for level in LEVELS]


class Arithmetic:
    """The embedded task, whose levels a rule tells apart."""

    name = "arithmetic, levels"

    def __init__(self):
        self.fresh = {level: [p.prompt for p in problems(level, "confirm", 5, EACH)] for level in LEVELS}

    def study(self, n, seed):
        each = n // len(LEVELS)
        drawn = [p for level in LEVELS for p in problems(level, "search", seed, each)]
        prompts, levels = [p.prompt for p in drawn], [p.level for p in drawn]
        model = fit(prompts, levels, seed, MIX)
        self.chances = {}
        for pool in self.fresh.values():
            for prompt, row in zip(pool, model.table(pool).tolist()):
                self.chances[prompt] = dict(zip(NAMES, row))
        self.model = model
        return seen(prompts, [MIX[level] for level in levels], model, NAMES)

    def chance(self, prompt):
        if prompt not in self.chances:
            self.chances[prompt] = dict(zip(NAMES, self.model.table([prompt])[0].tolist()))
        return self.chances[prompt]

    def drawn(self, rng, count, mix=MIX):
        levels = rng.choice(list(mix), count, p=np.array(list(mix.values())) / sum(mix.values()))
        return [self.fresh[int(level)][rng.integers(EACH)] for level in levels]

    def others(self, rng, count):
        like = self.drawn(rng, count)
        return {
            "all levels alike": self.drawn(rng, count, dict.fromkeys(LEVELS, 1)),
            "the hardest level": self.drawn(rng, count, {5: 1}),
            "a third is the hardest": self.drawn(rng, count, {level: MIX[level] * 2 + (level == 5) for level in MIX}),
            "four in one": [" ; ".join(like[i : i + 4]) for i in range(count)],
            "in Russian": ["реши: " + prompt.partition(":")[2] for prompt in like],
            "word problems": [f"Tom has {a[7:]} apples. How many are left?" for a in like],
        }


class Texts:
    """Texts that nothing tells apart."""

    name = "texts, none"
    model = None

    def study(self, n, seed):
        prompts = self.drawn(np.random.default_rng([7, seed]), n)
        return seen(prompts, [1.0] * n, None, ["all"])

    def chance(self, prompt):
        return {}

    def drawn(self, rng, count, words=3.5):
        out = []
        for size, odd in zip(rng.lognormal(words, 0.7, count).astype(int) + 3, rng.random(count)):
            body = rng.choice(
                ["the", "Alice", "counts", "12", "350", "7.5", "sum", "of", "why?", "(x", "y)", "all."], size
            )
            out.append(" ".join(body) + ("\n```\nreturn x;\n```" if odd < 0.1 else "?" if odd < 0.6 else ""))
        return out

    def others(self, rng, count):
        like = self.drawn(rng, count)
        return {
            "twice as long": self.drawn(rng, count, 3.5 + np.log(2)),
            "with an example each": [f"{prompt}\n\n{one}" for prompt, one in zip(like, like[1:] + like[:1])],
            "in Chinese": ["请问" * 20 + prompt for prompt in like],
            "programs": [f"def f(x):\n    return {prompt};\n" for prompt in like],
        }


def told_after(watch, task, prompts):
    """Prompts until they have parted; None where they have not."""
    for count, prompt in enumerate(prompts, 1):
        found = watch.add(prompt, task.chance(prompt))
        if found is not None and found.parted:
            return count
    return None


def false_alarms(task, n, runs):
    """Runs with an alarm, and the highest score of each run."""
    alarms, scores = 0, []
    for run in range(runs):
        if run % A_STUDY == 0:
            known = task.study(n, run)
        watch, found = Watch(known), {}
        for prompt in task.drawn(np.random.default_rng([n, run]), SERVED):
            watch.add(prompt, task.chance(prompt))
            found[id(watch.drift)] = watch.drift
        alarms += any(drift.parted for drift in found.values())
        scores.append(max(max(drift.scores.values(), default=0.0) for drift in found.values()))
    return alarms, scores


def detection(task, n, runs):
    """Of each kind of other prompts: after how many they were told, for a new watch and for one that has seen many."""
    found = {}
    for run in range(runs):
        known = task.study(n, run)
        rng = np.random.default_rng([9, n, run])
        for what, prompts in task.others(rng, SOON).items():
            used = Watch(known)
            told_after(used, task, task.drawn(rng, SOON))
            fresh = told_after(Watch(known), task, prompts)
            found.setdefault(what, ([], []))[0].append(fresh)
            found[what][1].append(told_after(used, task, prompts))
    return found


def shown(counts):
    """How many were told, and the median of when."""
    told = sorted(SOON * 10 if c is None else c for c in counts)
    middle = told[len(told) // 2]
    return f"{sum(c is not None for c in counts)}/{len(counts)} | {'-' if middle > SOON else middle}"


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    tasks = [Arithmetic(), Texts()]
    print(
        f"| prompts like the study's | its prompts | runs with an alarm in {SERVED} | highest score, median and 99 % |"
    )
    print("|---|---|---|---|")
    for task in tasks:
        for n in (100, 300, 1000):
            alarms, scores = false_alarms(task, n, runs)
            high = np.quantile(scores, [0.5, 0.99])
            print(f"| {task.name} | {n} | {alarms}/{runs} | {high[0]:.2f}, {high[1]:.2f} |", flush=True)
    print("\n| other prompts | study's prompts | told, new watch | after | told, after 5,000 others | after |")
    print("|---|---|---|---|---|---|")
    for task in tasks:
        for n in (100, 1000):
            for what, (fresh, used) in detection(task, n, max(1, runs // 15)).items():
                print(f"| {task.name}: {what} | {n} | {shown(fresh)} | {shown(used)} |", flush=True)
    known = tasks[0].study(300, 0)
    prompts = tasks[0].drawn(np.random.default_rng(0), SERVED)
    chances = [tasks[0].chance(p) for p in prompts]

    def once():
        watch = Watch(known)
        for prompt, chance in zip(prompts, chances):
            watch.add(prompt, chance)

    print(f"\n{min(timeit.repeat(once, number=1, repeat=3)) / SERVED * 1e6:.1f} microseconds a prompt, over {SERVED}")


if __name__ == "__main__":
    main()
