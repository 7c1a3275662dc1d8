"""Group `ngrams/1`: hashed words and pairs of words of a prompt, as a set of buckets.

Hashing instead of a vocabulary keeps an artefact small and takes words that were never learned on (Weinberger et al.
2009, 0902.2206). Standard library, and numpy for the matrix to learn from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

# Raise this whenever a text gets other buckets than before: artefacts name the version.
NGRAMS_VERSION: Final = 1
BUCKETS: Final = 2**14

Places: TypeAlias = NDArray[np.int64]

_SEEN: Final = 20_000  # characters that are looked at
_SHIFT: Final = 32 - 14  # the upper bits of the hash name the bucket
_PAIR: Final = 0x9E3779B9  # sets a pair apart from one word that is spelled like both
# In small letters, and every digit a 0, so that numbers of equal length are one word.
_PLAIN: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789", b"abcdefghijklmnopqrstuvwxyz000000000")
# A word of letters (and of what is not ASCII), a number, or one mark.
_WORD: Final = re.compile(rb"[a-z'\x80-\xff]+|[0.]+|[^ \t\r\n]")
_NO_MARKS: Final = b"abcdefghijklmnopqrstuvwxyz'0. \t\r\n" + bytes(range(128, 256))
_NUMBERS: Final = re.compile(rb"([0.][0.]*)")


def ngrams(prompt: str) -> list[int]:
    """The buckets of a prompt's words and pairs of neighbours: ascending, each once, from 0 to `BUCKETS` - 1.

    Examples
    --------
    >>> ngrams("Solve: 17 + 4") == ngrams("solve: 92 + 6") != ngrams("solve: 4 + 17")
    True
    """
    # A lone surrogate has no UTF-8: it is passed on as it is, so that any text can be hashed.
    words = _words(prompt[:_SEEN].encode("utf-8", "surrogatepass").translate(_PLAIN))
    hashes = list(map(crc32, words))
    # The hash of a pair goes on from that of its first word.
    hashes += map(crc32, words[1:], [value ^ _PAIR for value in hashes])
    return sorted({value >> _SHIFT for value in hashes})


def _words(text: bytes) -> list[bytes]:
    """What `_WORD` finds, a third of the time: gaps are put around marks and numbers, and words split at gaps."""
    marks = set(text.translate(None, _NO_MARKS))
    if marks & {0x0B, 0x0C}:  # marks here, and gaps to `split`
        return _WORD.findall(text)
    for code in marks:
        mark = bytes((code,))
        text = text.replace(mark, b" " + mark + b" ")
    return b" ".join(_NUMBERS.split(text)).split()


def matrix(prompts: Sequence[str]) -> tuple[Places, Places]:
    """The buckets of many prompts in compressed rows, as `scipy.sparse.csr_matrix` takes them; every entry is 1.

    Returns
    -------
    indices, indptr
        The buckets of prompt i are `indices[indptr[i]:indptr[i + 1]]`.

    Examples
    --------
    >>> indices, indptr = matrix(["one two", "", "one"])
    >>> indptr.tolist(), indices[3:].tolist() == ngrams("one")
    ([0, 3, 3, 4], True)
    """
    rows = [ngrams(prompt) for prompt in prompts]
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=indptr[1:])
    return np.array([bucket for row in rows for bucket in row], dtype=np.int64), indptr
