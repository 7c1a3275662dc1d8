"""Scoring models in this process, through transformers: a folder of weights that answers what a server would be asked.

`Local` stands in for the way to a server, so that the same shapes ask it and read it, and give the same numbers. It
answers `/tokenize`, `/pooling`, `/classify`, text completions with `echo` and log-probabilities, and chat completions:
one token with its log-probabilities, or the likeliest text. One text is computed at a time, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry
from autotts.worlds.scoring.asking import CHAT, CLASSIFY, COMPLETIONS, POOLING, TOKENIZE
from autotts.worlds.scoring.marking import check
from autotts.worlds.servers.fault import REQUEST, Fault

_CLASSES: Final = {
    "tokens": "AutoModelForTokenClassification",
    "sequence": "AutoModelForSequenceClassification",
    "words": "AutoModelForCausalLM",
}
_NOT_WEIGHTS: Final = ("device",)  # fields of `extra` that are not for loading


class Local:
    """Answers what a server of this model would be asked; made by `open_local`."""

    def __init__(self, model: Any, tokenizer: Any, where: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._where = where
        self._lock = threading.Lock()
        self._answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            TOKENIZE: self._tokenize,
            POOLING: self._pool,
            CLASSIFY: self._classify,
            COMPLETIONS: self._complete,
            CHAT: self._chat,
        }

    async def __call__(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; what the model computes for a cancelled one is thrown away."""
        if path not in self._answers:
            raise InputError(f"{self._where}: a model in this process answers {', '.join(self._answers)}, not {path}")
        return await asyncio.to_thread(self._answer, path, form)

    def _answer(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                return self._answers[path](form)
            except (RuntimeError, IndexError, ValueError) as error:
                raise BackendError(f"{self._where} stopped working: {error}") from error

    # ------------------------------------------------------------------ what is read

    def _ids(self, form: Mapping[str, Any], generate: bool = False) -> list[int]:
        text, special = form.get("prompt", form.get("input")), form.get("add_special_tokens", True)
        if isinstance(text, list):
            return [int(token) for token in text]
        if (messages := form.get("messages")) is not None:
            if not getattr(self._tokenizer, "chat_template", None):
                raise InputError(f"{self._where}: expected a chat template in its tokenizer, found none")
            how = form.get("chat_template_kwargs", {})
            text = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=form.get("add_generation_prompt", generate), **how
            )
            special = False
        ids: list[int] = self._tokenizer(text, add_special_tokens=special)["input_ids"]
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None and len(ids) + int(form.get("max_tokens", 0)) > most:
            raise Fault(f"{self._where} reads up to {most} tokens, found {len(ids)}", kind=REQUEST, again=False)
        return ids

    def _inputs(self, ids: list[int]) -> Any:
        from transformers import BatchEncoding

        encoded = {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}
        return BatchEncoding(encoded, tensor_type="pt").to(self._model.device)

    def _logits(self, ids: list[int]) -> Any:
        """The logits of one text, in single precision, without the first axis."""
        return self._model(**self._inputs(ids)).logits[0].float()

    def _tokenize(self, form: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._ids(form)
        return {"tokens": ids, "count": len(ids)}

    # ------------------------------------------------------------------ classes

    def _pool(self, form: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._ids(form)
        return {"data": [{"index": 0, "data": self._logits(ids).tolist()}], "usage": _usage(ids)}

    def _classify(self, form: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._ids(form)
        return {"data": [{"index": 0, "probs": self._logits(ids).tolist()}], "usage": _usage(ids)}

    # ------------------------------------------------------------------ words

    def _complete(self, form: Mapping[str, Any]) -> dict[str, Any]:
        """The whole prompt, echoed, and one token: each with the likeliest tokens at its place, named by ids."""
        ids = self._ids(form)
        tops = _tops(self._logits(ids), int(form["logprobs"]))
        following = int(next(iter(tops[-1])))
        said = {
            "tokens": [f"token_id:{token}" for token in (*ids, following)],
            "top_logprobs": [None, *({f"token_id:{token}": value for token, value in top.items()} for top in tops)],
        }
        return {"choices": [{"logprobs": said}], "usage": _usage(ids, 1)}

    def _chat(self, form: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._ids(form, generate=True)
        if form.get("logprobs"):
            top = _tops(self._logits(ids)[-1:], int(form["top_logprobs"]))[0]
            names = [{"token": self._tokenizer.decode([token]), "logprob": value} for token, value in top.items()]
            return {"choices": [{"logprobs": {"content": [{"top_logprobs": names}]}}], "usage": _usage(ids, 1)}
        most = int(form["max_tokens"])
        whole = self._model.generate(**self._inputs(ids), max_new_tokens=most, do_sample=False)
        made = whole[0].tolist()[len(ids) :]
        text = self._tokenizer.decode(made, skip_special_tokens=True)
        return {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": _usage(ids, len(made))}


def _tops(logits: Any, count: int) -> list[dict[int, float]]:
    """The likeliest tokens at each place and their log-probabilities, the likeliest first."""
    best = logits.log_softmax(-1).topk(min(count, logits.shape[-1]), -1)
    rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [dict(zip(tokens, values, strict=True)) for tokens, values in rows]


def _usage(ids: list[int], made: int = 0) -> dict[str, int]:
    return {"prompt_tokens": len(ids), "completion_tokens": made}


def open_local(entry: Entry) -> Local:
    """Load the weights of a model that scores, with the head that its shape reads.

    Parameters
    ----------
    entry
        `served` is the folder; `extra` goes to `from_pretrained`, but for `device` ("cuda" where there is one).

    Raises
    ------
    InputError
        When the entry is not right, transformers is not installed, or the folder has no such weights.
    """
    shape, where = check(entry), f"model {entry.name!r} ({entry.served})"
    try:
        import transformers
        from transformers.utils.import_utils import is_torch_cuda_available
    except ImportError:
        raise InputError(
            f"{where}: expected transformers and torch, which are not installed: "
            "pip install autotts-optimizer[transformers]"
        ) from None
    if not Path(entry.served).is_dir():
        raise InputError(f"{where}: expected a folder of weights, found none there")
    extra = {"dtype": "auto"} | {name: value for name, value in entry.extra.items() if name not in _NOT_WEIGHTS}
    trusted = {"trust_remote_code": bool(extra.get("trust_remote_code", False))}
    kind = getattr(transformers, _CLASSES[shape.head])
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)  # what is missing is an error below, and no warning
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(entry.served, local_files_only=True, **trusted)
        model, told = kind.from_pretrained(entry.served, local_files_only=True, output_loading_info=True, **extra)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"{where}: expected weights with a tokenizer, found an error: {error}") from error
    finally:
        log.setLevel(level)
    if missing := sorted(told["missing_keys"]):
        raise InputError(
            f"{where}: expected weights for {kind.__name__.removeprefix('AutoModelFor')}, as the shape {shape.name!r} "
            f"reads them, found none for {', '.join(missing[:3])}: this model is of another shape"
        )
    device = entry.extra.get("device") or ("cuda" if is_torch_cuda_available() else "cpu")
    return Local(model.to(device).eval().requires_grad_(False), tokenizer, where)
