"""One model as a user declares it: where it answers, how it is asked, and what its tokens cost.

These are the frozen values that `read` makes of `models.toml` and that the worlds are opened with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from autotts.core.cost import ModelCard

ENGINES: Final = ("openai", "vllm", "transformers", "tiny")
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Server:
    """One address that answers, up to the version (http://localhost:8000/v1); `key` is never shown or stored.

    `weight` is its share of the load beside the others of its model; the limits are those of the whole server, None
    where it has none. `most` bounds the requests that run there at once.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    weight: float = 1.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    most: int = 256


@dataclass(frozen=True, slots=True)
class Template:
    """How a question is put to a model, and how a partial answer goes on.

    `form` is "chat" or "text". In `user`, `{prompt}` is the task's bare prompt and `{instruction}` what the task says
    of the form of answers. `step` ends a step, `probe` is written after a partial answer to ask for the answer now,
    `stop` are further stop strings. `continues` says how a partial answer is gone on with: "ids" (token ids of a text
    completion), "text" (a text completion), "message" (the last message of a chat, `continue_final_message`), "none",
    or "auto" (as the server is found to be able to).
    """

    form: str = "chat"
    system: str = ""
    user: str = "{prompt}\n\n{instruction}"
    step: str = "\n\n"
    probe: str = "\n\nFinal answer: \\boxed{"
    stop: tuple[str, ...] = ()
    continues: str = "auto"


@dataclass(frozen=True, slots=True)
class Thinking:
    """A model that thinks before it answers: None leaves each to the server's default.

    `enabled` goes into the chat template, `effort` (such as low, medium, high) is sent as `reasoning_effort`, `budget`
    is the most tokens of thinking.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a model that scores is asked and read.

    `kind` is "process" (a process reward model), "outcome" (an outcome reward model) or "judge" (a chat model).
    `shape` names the known shape of its inputs and outputs, `reduce` makes one number of the scores of steps ("last",
    "min", "product", "mean"). `options` are what a shape needs besides, such as token ids of a step's mark.
    """

    kind: str
    shape: str
    reduce: str = "last"
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model under the name that arms use.

    Parameters
    ----------
    engine
        "openai" (a server in OpenAI's form), "vllm" or "transformers" (in this process), or "tiny" (embedded).
    served
        Its name on the servers or in this package, or the folder of its weights.
    revision
        Names the weights; part of every sample's key.
    max_tokens
        The most tokens that may be generated on one path.
    context
        Tokens that fit into the model, prompt and answer together; None is not known.
    scoring
        None for a model that draws.
    extra
        Further fields of every request, such as `top_k`, or further arguments of an engine in this process.
    """

    name: str
    engine: str
    served: str
    card: ModelCard
    servers: tuple[Server, ...] = ()
    revision: str = ""
    template: Template = Template()
    thinking: Thinking = Thinking()
    scoring: Scoring | None = None
    max_tokens: int = 2048
    context: int | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    @property
    def draws(self) -> bool:
        """Whether it draws; others score."""
        return self.scoring is None
