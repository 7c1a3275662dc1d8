"""Draws for labels and figures, made by our own inference, so that cards state what a user gets."""

import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Flag

from autotts.core.task import Problem
from autotts.tiny.codec import encode
from autotts.tiny.engine import Completion, Engine, Event, Request
from autotts.tiny.model import load


def draws(
    folder: Path, asked: Sequence[Problem], *, per_problem: int, temperature: float, seed: int
) -> list[list[Completion]]:
    """Draw `per_problem` solutions of every problem; the same arguments give the same draws."""
    requests = [
        Request(
            encode(problem.prompt + "\n"),
            seed=random.Random(f"draw/{seed}/{zlib.crc32(problem.prompt.encode())}/{i}").getrandbits(64),
            temperature=temperature,
        )
        for problem in asked
        for i in range(per_problem)
    ]
    flat = complete(folder, requests)
    return [flat[i : i + per_problem] for i in range(0, len(flat), per_problem)]


def complete(folder: Path, requests: Sequence[Request]) -> list[Completion]:
    """Answer requests with the model in a folder, in their order."""
    answers: dict[int, Completion] = {}
    errors: list[BaseException] = []
    ready = Flag()

    def take(events: Sequence[Event]) -> None:
        for event in events:
            if event.error is not None:
                errors.append(event.error)
            elif event.done is not None:
                answers[event.ticket.tag] = event.done
        if errors or len(answers) == len(requests):
            ready.set()

    if requests:
        with Engine({folder.name: load(folder)}) as engine:
            engine.submit_all(folder.name, requests, take, tags=range(len(requests)))
            ready.wait()
    if errors:
        raise errors[0]
    return [answers[i] for i in range(len(requests))]
