"""Qwen2.5-Math-PRM: the answer is a message of steps that each end in `<extra_0>`, a token with two classes.

The form is that of the model cards of Qwen/Qwen2.5-Math-PRM-7B and -72B (Zhang et al., 2501.07301): the system message
below, the question, the steps joined and ended by the mark, the chat template without a generation prompt; the score
of a step is the softmax of the two classes at its mark (151651), the second being "right". vLLM pools at these marks
by itself. The same form serves other token classifiers with a mark of their own.
"""

from __future__ import annotations

from typing import Final

from autotts.worlds.scoring.asking import Job, neutral, shares, steps_of
from autotts.worlds.scoring.rows import rows_at_marks
from autotts.worlds.scoring.shapes import SENT, Shape, anything, count, place, text

_SYSTEM: Final = "Please reason step by step, and put your final answer within \\boxed{}."


async def _score(job: Job) -> list[float]:
    mark = job.options["mark"]
    steps = steps_of(job.text, mark)
    messages = [
        {"role": "user", "content": neutral(job.text.prompt, mark)},
        {"role": "assistant", "content": "".join(step + mark for step in steps)},
    ]
    if job.options["system"]:
        messages.insert(0, {"role": "system", "content": job.options["system"]})
    fields = {"messages": messages, "add_generation_prompt": False}
    rows = await rows_at_marks(job, fields, job.options["mark_id"], len(steps))
    return shares(rows, job.options["right"], job.options["sent"])


QWEN: Final = Shape(
    "process",
    "qwen-prm",
    "tokens",
    {"mark": text("<extra_0>"), "mark_id": count(151651), "system": anything(_SYSTEM), "right": place(1), "sent": SENT},
    _score,
)
