"""Text to tokens and back for the embedded models: 18 symbols, one token each, in a vocabulary of 32."""

from __future__ import annotations

import re
from typing import Final

from autotts.errors import InputError

VOCABULARY: Final = 32
PAD, END, NEWLINE, SOLVE, ANSWER = range(5)
SYMBOLS: Final = ("<pad>", "<end>", "\n", "solve: ", "answer: ", *"0123456789", "+", "-", "*")
# What a model may write; the padding and the unused ids have no logit at all.
WRITABLE: Final = range(END, len(SYMBOLS))
QUESTION: Final = SYMBOLS[SOLVE]
FINAL: Final = SYMBOLS[ANSWER]

_IDS: Final = {symbol: i for i, symbol in enumerate(SYMBOLS) if i > END}
_SYMBOL: Final = re.compile("|".join(map(re.escape, _IDS)) + "|.", re.DOTALL)


def encode(text: str) -> tuple[int, ...]:
    """Tokens of a text; it has no end token, since a text does not say that it is complete.

    Raises
    ------
    InputError
        Names the first symbol that is not one of the vocabulary.

    Examples
    --------
    >>> encode("solve: 80+5\\n")
    (3, 13, 5, 15, 10, 2)
    """
    found = _SYMBOL.findall(text)
    try:
        return tuple([_IDS[symbol] for symbol in found])
    except KeyError as error:
        raise InputError(
            f"the embedded models cannot read the symbol {error.args[0]!r} in {_short(text)}; expected a signed sum "
            f"of products of whole numbers, such as '{QUESTION}80+5*9-63' (digits, + - * and nothing else)"
        ) from None


def decode(ids: tuple[int, ...]) -> str:
    """Text of tokens; the end token and the padding have none.

    Examples
    --------
    >>> decode((4, 11, 7, 1))
    'answer: 62'
    """
    return "".join([SYMBOLS[i] for i in ids if i > END])


def path_text(text: str) -> str:
    """The text that a model goes on from: a bare prompt is put in the form that the models were trained on.

    A text that already has its first line complete (a path) is returned as it is.

    Examples
    --------
    >>> path_text("80+5*9-63"), path_text("solve: 80+5*9-63\\n125-63\\n")
    ('solve: 80+5*9-63\\n', 'solve: 80+5*9-63\\n125-63\\n')
    """
    if text.startswith(QUESTION) and "\n" in text:
        return text
    prompt = text.strip().removeprefix(QUESTION.strip()).strip()
    if not prompt:
        raise InputError(f"the prompt {_short(text)} is empty; expected one such as '{QUESTION}80+5*9-63'")
    path = f"{QUESTION}{prompt}\n"
    ids = encode(path)
    if any(i in (NEWLINE, SOLVE, ANSWER) for i in ids[1:-1]):
        raise InputError(
            f"the prompt {_short(text)} has more than one line; expected one such as '{QUESTION}80+5*9-63'"
        )
    return path


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
