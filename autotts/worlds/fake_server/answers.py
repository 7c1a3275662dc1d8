"""The JSON of answers: whole ones and the chunks of streams, for chat and text completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotts.worlds.fake_server.drawing import Drawn
from autotts.worlds.fake_server.forms import Asked
from autotts.worlds.fake_server.likely import Likeliness
from autotts.worlds.fake_server.models import FakeModel
from autotts.worlds.fake_server.text import Vocabulary

Json = dict[str, Any]


def usage(prompt: int, generated: int, *, cached: int | None = None, thought: int | None = None) -> Json:
    """The `usage` of an answer; `cached` and `thought` are None where the server does not tell them."""
    form: Json = {
        "prompt_tokens": prompt,
        "total_tokens": prompt + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": None if cached is None else {"cached_tokens": cached},
    }
    if thought is not None:
        form["completion_tokens_details"] = {"reasoning_tokens": thought}
    return form


@dataclass(slots=True)
class Answer:
    """One request's answer.

    Parameters
    ----------
    name
        Its id.
    drawn
        The choices: n of each prompt.
    reasoning
        The name of the field that thinking goes into.
    cached
        Tokens of the prompt that were cached; None where that is not told.
    created
        The second at which it was made.
    tells, reasons
        Whether a whole answer has its usage, and whether the stop string that ended a choice is told.
    """

    asked: Asked
    name: str
    drawn: Sequence[Drawn]
    vocabulary: Vocabulary
    reasoning: str
    cached: int | None
    created: int
    tells: bool = True
    reasons: bool = True

    @property
    def prompt(self) -> int:
        """Tokens of the prompts, each counted once."""
        return sum(len(path.tokens) for path in self.asked.paths)

    def usage(self, sent: int) -> Json:
        """The usage when `sent` tokens of each choice, at most, were generated."""
        generated = sum(min(sent, len(one.tokens)) for one in self.drawn)
        thought = sum(min(sent, one.thought) for one in self.drawn)
        tells = self.asked.chat and self.asked.model.thinks
        return usage(self.prompt, generated, cached=self.cached, thought=thought if tells else None)

    def _top(self, kind: str) -> Json:
        return {"id": self.name, "object": kind, "created": self.created, "model": self.asked.model.name}

    # ------------------------------------------------------------------ whole answers

    def whole(self) -> Json:
        """The answer to a request that does not stream."""
        choice = self._whole_message if self.asked.chat else self._whole_text
        form = self._top("chat.completion" if self.asked.chat else "text_completion")
        form["choices"] = [choice(index, one) for index, one in enumerate(self.drawn)]
        if self.tells:
            form["usage"] = self.usage(1 << 60)
        if self.asked.chat and self.asked.ids:
            form["prompt_token_ids"] = self.vocabulary.ids(self.asked.paths[0].tokens)
        return form

    def _whole_message(self, index: int, one: Drawn) -> Json:
        message: Json = {"role": "assistant", "content": "".join(one.shown[one.thought :])}
        if self.asked.call is not None:
            message["tool_calls"] = [self._call(index, message["content"])]
            message["content"] = None
        if self.asked.model.thinks:
            message[self.reasoning] = _thought(one, 0, one.thought)
        return self._choice(index, one, 0, len(one.tokens), {"message": message})

    def _call(self, index: int, arguments: str, *, begins: bool = True) -> Json:
        """The tool call of a choice, or the next piece of its arguments."""
        assert self.asked.call is not None
        if not begins:
            return {"function": {"arguments": arguments}}
        call = {"name": self.asked.call.name, "arguments": arguments}
        return {"id": f"call-{self.name}-{index}", "type": "function", "function": call}

    def _whole_text(self, index: int, one: Drawn) -> Json:
        text = "".join(one.shown)
        form = self._choice(index, one, 0, len(one.tokens), {"text": text})
        path = self.asked.paths[index // self.asked.n]
        if self.asked.echo:
            form["text"] = path.prompt + path.partial + text
            if self.asked.logprobs is not None:
                likely, after = self._likely(index, one)
                form["logprobs"] = likely.of_text(0, after + len(one.tokens), self.asked.logprobs)
        if self.asked.prompt_logprobs is not None:
            form["prompt_logprobs"] = self._likely(index, one)[0].of_prompt(self.vocabulary.ids(path.tokens))
        if self.asked.ids:
            form["prompt_token_ids"] = self.vocabulary.ids(path.tokens)
        return form

    # ------------------------------------------------------------------ streams

    def opening(self) -> Json | None:
        """The first chunk of a chat, which names the role."""
        if not self.asked.chat:
            return None
        form = self._top("chat.completion.chunk")
        form["choices"] = [
            {"index": i, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
            for i in range(len(self.drawn))
        ]
        if self.asked.ids:
            form["prompt_token_ids"] = self.vocabulary.ids(self.asked.paths[0].tokens)
        if self.asked.continuous:
            form["usage"] = self.usage(0)
        return form

    def chunks(self, start: int, stop: int) -> list[Json]:
        """The chunks with the tokens start:stop of every choice that goes so far."""
        found = []
        for index, one in enumerate(self.drawn):
            last = min(stop, len(one.tokens))
            if start < last or (start == last == 0):
                found.append(self._chunk(index, one, start, last, stop))
        return found

    def _chunk(self, index: int, one: Drawn, start: int, last: int, sent: int) -> Json:
        form = self._top("chat.completion.chunk" if self.asked.chat else "text_completion")
        text = "".join(one.shown[max(start, one.thought if self.asked.chat else 0) : last])
        if not self.asked.chat:
            path = self.asked.paths[index // self.asked.n]
            content: Json = {"text": path.prompt + path.partial + text if self.asked.echo and start == 0 else text}
        else:
            delta: Json = {}
            if start < one.thought:
                delta[self.reasoning] = _thought(one, start, min(last, one.thought))
            if self.asked.call is not None and last > one.thought:
                delta["tool_calls"] = [{"index": 0, **self._call(index, text, begins=start <= one.thought)}]
            elif last > one.thought or not delta:
                delta["content"] = text
            content = {"delta": delta}
        form["choices"] = [self._choice(index, one, start, last, content)]
        if self.asked.continuous:
            form["usage"] = self.usage(sent)
        return form

    def closing(self) -> Json:
        """The chunk that holds the usage and no choice."""
        form = self._top("chat.completion.chunk" if self.asked.chat else "text_completion")
        form["choices"] = []
        form["usage"] = self.usage(1 << 60)
        return form

    # ------------------------------------------------------------------ what both have

    def _choice(self, index: int, one: Drawn, start: int, last: int, content: Mapping[str, Any]) -> Json:
        ended, call = last == len(one.tokens), self.asked.call
        # As vLLM says it: a tool that the request named was no choice of the model's.
        finish = "tool_calls" if one.finish == "stop" and call is not None and not call.named else one.finish
        form: Json = {"index": index, **content, "logprobs": None, "finish_reason": finish if ended else None}
        if self.asked.logprobs is not None:
            likely, after = self._likely(index, one)
            tell = likely.of_chat if self.asked.chat else likely.of_text
            form["logprobs"] = tell(after + start, after + last, self.asked.logprobs)
        if ended:
            form["stop_reason"] = one.stop if self.reasons else None
        if self.asked.ids:
            form["token_ids"] = self.vocabulary.ids(one.tokens[start:last])
        return form

    def _likely(self, index: int, one: Drawn) -> tuple[Likeliness, int]:
        """The likeliness of a choice with its prompt, and how long the prompt is."""
        tokens = self.asked.paths[index // self.asked.n].tokens
        return Likeliness(self.asked.model, [*tokens, *one.tokens]), len(tokens)


def _thought(one: Drawn, start: int, stop: int) -> str:
    """The words of a thought, without its marks."""
    return "".join(piece for piece in one.shown[start:stop] if piece.strip() not in ("<think>", "</think>"))


def model_list(models: Mapping[str, FakeModel], *, openai: bool) -> Json:
    """The answer of /v1/models."""
    data = []
    for model in models.values():
        form: Json = {"id": model.name, "object": "model", "created": 0, "owned_by": "openai" if openai else "vllm"}
        if not openai:
            form |= {"root": model.name, "parent": None, "max_model_len": model.context}
        data.append(form)
    return {"object": "list", "data": data}
