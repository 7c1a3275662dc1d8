"""What a request says beside its prompt: what is sent for it, what names it, what is refused by name."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.node import root_node
from autotts.core.plan import Draw, Spec
from autotts.errors import InputError
from autotts.worlds.context import NOTHING, Context, bare, checked, root_of
from autotts.worlds.fake_server import FakeServer
from autotts.worlds.joined import Joined
from autotts.worlds.models.entry import Entry, Server, Template, Thinking
from autotts.worlds.openai import OpenAI, open_openai
from autotts.worlds.openai.forms import Wish, form, rendering
from autotts.worlds.openai.nodes import node_of
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import Partial, messages, plain, question
from autotts.worlds.tiny import PATH_TOKENS, open_tiny
from tests.worlds.test_openai import answer, entry, order, run

PROMPT = "What is 12 + 30 * 2 - 7?"
KEY = "9ecca389e7823be8e8592b88b812115f"  # of the prompt alone: what stores hold
SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]})
TALK = Context(before=(SYSTEM, *TURNS))
ENTRY = Entry("S", "openai", "org/S", ModelCard("S", "1"), servers=(Server("http://localhost:8000/v1"),))
TEXT = replace(ENTRY, template=Template(form="text", system="Sums.", user="Q: {prompt}\nA:", stop=("Q:",)))


def opened(*entries: Entry) -> Any:
    return open_openai({one.name: one for one in entries or (ENTRY,)}, read=str, instruction="Box it.")


def body(context: Context, entry: Entry = ENTRY, spec: Spec = Spec(), **fields: Any) -> dict[str, Any]:  # noqa: B008
    path = Partial.root(PROMPT, checked(context))
    return form(Wish(entry, path, spec, "Box it.", seed=7, room=100, **fields)).body


# ---------------------------------------------------------------- names


def test_without_a_context_a_root_is_what_it_always_was() -> None:
    with opened() as world:
        for context in (NOTHING, Context(fields={"user": "me", "top_p": None, "presence_penalty": 0}, most=2048)):
            node, _ = world.root(PROMPT, context)
            assert node.key.hex() == KEY
            assert (node.key, node.digest) == (root_node(PROMPT, 0).key, root_node(PROMPT, 0).digest)
        assert world.root(PROMPT)[1] == world.root(PROMPT, Context(salt="a"))[1] == {"prompt": PROMPT}


def test_all_that_changes_a_draw_is_in_the_key() -> None:
    contexts = [
        NOTHING,
        Context(salt="a"),
        Context(salt="b"),
        TALK,
        replace(TALK, salt="a"),
        Context(before=(SYSTEM,)),
        Context(fields={"top_k": 3}),
        Context(fields={"top_k": 4}),
        Context(fields={"stop": "x"}),
        Context(most=7),
        Context(most=8),
    ]
    with opened() as world:
        assert len({world.root(PROMPT, context)[0].key for context in contexts}) == len(contexts)
        assert (
            world.root(PROMPT, TALK)[0].key == world.root(PROMPT, Context(before=tuple(map(dict, TALK.before))))[0].key
        )


def test_texts_of_other_conversations_have_other_digests_and_salts_do_not_matter() -> None:
    said = Said("4", "", None, None, "stop", None, True, 9, 0, 1, False, None)

    def digest(context: Context) -> bytes:
        wish = Wish(ENTRY, Partial.root(PROMPT, context), Spec(), "", seed=7, room=9)
        return node_of(wish, form(wish), said, key=b"k", depth=1, read=str)[0].digest

    assert len({digest(c) for c in (NOTHING, TALK, Context(before=TURNS))}) == 3
    assert digest(TALK) == digest(replace(TALK, salt="a"))
    assert root_of(PROMPT, 1, TALK).digest != root_of(PROMPT, 1, NOTHING).digest


def test_a_state_survives_a_store_and_goes_on_as_it_was() -> None:
    context = replace(TALK, fields={"stop": ["x"], "top_k": 3}, most=9, salt="a")
    with opened() as world:
        _, state = world.root(PROMPT, context)
    assert json.loads(json.dumps(state)) == state
    path = Partial.of(state)
    assert (path.context, path.name) == (replace(checked(context), salt=""), state["named"])
    assert Partial.of(json.loads(json.dumps(replace(path, text="So").state()))) == replace(path, text="So")


# ---------------------------------------------------------------- what is sent


def test_earlier_messages_stand_before_the_question_and_the_template_wraps_only_that() -> None:
    assert body(TALK)["messages"] == [SYSTEM, *TURNS, {"role": "user", "content": f"{PROMPT}\n\nBox it."}]
    ours = replace(ENTRY, template=Template(system="Sums."))
    assert body(TALK, ours)["messages"][0] == {"role": "system", "content": "Sums.\n\nBe brief."}
    assert body(Context(before=TURNS), ours)["messages"][:2] == [{"role": "system", "content": "Sums."}, TURNS[0]]
    assert SYSTEM["content"] == "Be brief."


def test_an_instruction_is_not_said_twice() -> None:
    asked = messages(ENTRY, Partial(f"{PROMPT} Box it.\n"), "Box it.")
    assert asked == [{"role": "user", "content": f"{PROMPT} Box it.\n"}]


def test_a_text_takes_a_system_message_and_no_turns() -> None:
    assert plain(TEXT, Partial.root("1+1", Context(before=(SYSTEM,))), "") == "Sums.\n\nBe brief.\n\nQ: 1+1\nA:"
    with opened(TEXT) as world:
        world.root(PROMPT, Context(before=(SYSTEM,)))
        with pytest.raises(InputError, match=r"^messages: model 'S' goes on with a text"):
            world.root(PROMPT, TALK)
        with pytest.raises(InputError, match=r"^reasoning_effort: "):
            world.root(PROMPT, Context(fields={"reasoning_effort": "low"}))


def test_fields_go_into_every_draw_and_stops_are_joined() -> None:
    sent = body(Context(fields={"top_k": 3, "stop": "END", "user": "me"}), TEXT)
    assert (sent["top_k"], sent["user"], sent["stop"]) == (3, "me", ["Q:", "END"])
    assert body(Context(fields={"stop": ["END"]}), spec=Spec(stop="step"))["stop"] == ["\n\n", "END"]
    assert body(Context(fields={"stop": ["END"]}), TEXT, Spec(move="probe"))["stop"][-1] == "END"
    assert sent["stream"] is True
    thinks = replace(ENTRY, thinking=Thinking(enabled=False, effort="high"), extra={"top_k": 9, "min_p": 0.1})
    sent = body(Context(fields={"top_k": 3, "chat_template_kwargs": {"x": 1}, "reasoning_effort": "low"}), thinks)
    assert (sent["top_k"], sent["min_p"], sent["reasoning_effort"]) == (3, 0.1, "low")
    assert sent["chat_template_kwargs"] == {"enable_thinking": False, "x": 1}


def test_token_ids_are_those_of_the_whole_conversation() -> None:
    context = replace(TALK, fields={"reasoning_effort": "low", "chat_template_kwargs": {"x": 1}, "top_k": 2})
    path = Partial.root(PROMPT, context)
    asked = rendering(ENTRY, path, "Box it.")
    assert asked["messages"] == body(TALK)["messages"]
    assert asked["chat_template_kwargs"] == {"x": 1, "reasoning_effort": "low"}
    sent = form(Wish(ENTRY, replace(path, text="So"), Spec(), "", seed=7, room=9, way="ids", ids=(1, 2))).body
    assert sent["prompt"] == [1, 2]
    assert sent["top_k"] == 2
    assert not {"reasoning_effort", "chat_template_kwargs"} & set(sent)


def test_a_stop_of_the_request_ends_an_answer_where_a_step_would_go_on() -> None:
    path = Partial.root(PROMPT, checked(Context(fields={"stop": ["\n\n", "END"]})))
    wish = Wish(ENTRY, path, Spec(stop="step"), "", seed=7, room=9)
    said = Said("4 END", "", None, None, "stop", "END", True, 9, 0, 1, False, None)
    node, state = node_of(wish, form(wish), said, key=b"k", depth=1, read=str)
    assert (node.done, state["text"]) == (True, "4 ")
    node, _ = node_of(wish, form(wish), replace(said, text="4\n\n", stop="\n\n"), key=b"k", depth=1, read=str)
    assert node.done


def test_scorers_see_the_turns_and_not_the_systems_words() -> None:
    assert question(Partial.root("1+1", TALK)) == "user: Hi\n\nassistant: Hello\n\n1+1"
    assert question(Partial("1+1")) == "1+1"


def test_a_server_is_sent_the_conversation_and_a_root_bounds_it() -> None:
    context = Context(before=(SYSTEM, *TURNS, *TURNS), fields={"top_k": 3}, most=5)

    async def work(server: FakeServer, world: OpenAI) -> None:
        root, state = world.root(PROMPT, context)
        ask = Draw(root, Spec(model="small", temperature=0.0))
        reply = await answer(world, ask, state, prefix=root.tokens)
        alone, bare_state = world.root(PROMPT)
        other = await answer(world, Draw(alone, ask.spec), bare_state, prefix=alone.tokens)
        assert other.usage.prompt + other.usage.cached < reply.usage.prompt + reply.usage.cached <= root.tokens
        assert reply.usage.generated == 5 < other.usage.generated
        assert reply.value.signals["cut"]
        again = await answer(world, Draw(reply.value, ask.spec), reply.state, prefix=root.tokens)
        assert again.value.failed
        assert again.usage.calls == 0
        assert "5 tokens of 5" in again.state["fault"]

    run(work)


def test_a_path_goes_on_in_its_conversation() -> None:
    """What is remembered of a prompt (its ids, its length) is not that of the prompt after other turns."""
    fields: dict[str, Any] = {"context": 400, "template": Template(continues="ids")}

    async def work(server: FakeServer, world: OpenAI) -> None:
        found = []
        for context in (NOTHING, TALK):
            root, state = world.root(PROMPT, context)
            first = await answer(world, Draw(root, Spec(model="small", temperature=0.0)), state)
            probe = Draw(root, Spec(model="small", move="probe"))
            one = order(world, probe, 1, 50)
            probed = await world.answer(one, (state,), one.meter)
            found.append((first.usage.prompt + first.usage.cached, probed.usage.prompt + probed.usage.cached))
        assert found[0][0] < found[1][0]
        assert found[1][1] - found[0][1] == found[1][0] - found[0][0]

    run(work, lambda server: entry(server, **fields))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (Context(fields={"temperature": 1}), "temperature: it is set by each draw"),
        (Context(fields={"n": 2}), "n: an answer that is chosen"),
        (Context(fields={"logprobs": True}), "logprobs: "),
        (Context(fields={"stop": ["", "x"]}), "stop: expected a text"),
        (Context(fields={"stop": 7}), "stop: expected a text"),
        (Context(fields={"bias": float("nan")}), "messages or fields: expected values that JSON"),
        (Context(fields={"chat_template_kwargs": 3}), "chat_template_kwargs: expected an object"),
        (Context(most=0), "max_tokens: expected a whole number of 1 or more, found 0"),
        (Context(most=True), "max_tokens: "),
        (Context(before=({"role": "wizard", "content": "x"},)), r"messages\[0\].role: expected one of"),
        (Context(before=("x",)), r"messages\[0\].role: "),  # type: ignore[arg-type]
        (Context(before=({"role": "user", "content": None},)), r"messages\[0\].content: "),
        (Context(before=({"role": "user", "content": "\ud800"},)), "messages: expected text, found half a character"),
        (
            Context(before=(SYSTEM, {"role": "user", "content": [{"type": "image_url", "image_url": "http://x"}]})),
            r"messages\[1\].content\[0\]: expected a part of text, found 'image_url'",
        ),
    ],
)
def test_what_cannot_be_heeded_is_refused_by_its_name(context: Context, words: str) -> None:
    with opened() as world, pytest.raises(InputError, match=f"^{words}"):
        world.root(PROMPT, context)


def test_a_conversation_that_cannot_fit_is_refused() -> None:
    with opened(replace(ENTRY, context=60)) as world:
        world.root(PROMPT)
        with pytest.raises(InputError, match="reads up to 60 tokens"):
            world.root(PROMPT, Context(before=({"role": "user", "content": "word " * 60},)))


def test_models_that_read_a_prompt_alone_say_so() -> None:
    with open_tiny(("S",), read=str) as world:
        for context, name in (
            (Context(before=(SYSTEM,)), "messages"),
            (Context(fields={"stop": "x"}), "stop"),
            (Context(fields={"top_k": 3}), "top_k"),
        ):
            with pytest.raises(InputError, match=f"^{name}: the embedded models"):
                world.root("1+1", context)
        plain_root, state = world.root("1+1", Context(fields={"user": "me", "n": 1}, most=PATH_TOKENS))
        assert (plain_root.key, state) == (world.root("1+1")[0].key, world.root("1+1")[1])
        assert world.root("1+1", Context(salt="a"))[0].key != plain_root.key
    bare(Context(most=3, fields={"stop": "x"}), "they", most=True, stops=True)
    with pytest.raises(InputError, match=r"^max_tokens: they cannot"):
        bare(Context(most=3), "they")


def test_the_embedded_models_hold_an_answer_to_its_limit() -> None:
    with open_tiny(("S",), read=str) as world:
        root, state = world.root("80+5*9-63", Context(most=4))
        assert json.loads(json.dumps(state)) == state

        async def work() -> Any:
            first = await answer(world, Draw(root, Spec(model="S", stop=1)), state, prefix=root.tokens)
            return first, await answer(world, Draw(first.value, Spec(model="S")), first.state, prefix=root.tokens)

        first, second = asyncio.run(work())
        assert (first.usage.generated, second.usage.generated) == (1, 3)
        assert second.value.done
        assert second.value.signals["cut"]


def test_worlds_that_are_joined_pass_it_on() -> None:
    with opened() as one, opened(replace(ENTRY, name="L")) as two:
        both = Joined((one, two))
        assert both.root(PROMPT, TALK)[0].key == one.root(PROMPT, TALK)[0].key
        with pytest.raises(InputError, match=r"^n: "):
            both.root(PROMPT, Context(fields={"n": 2}))
