"""Group `question/1`: how a prompt is built and what it asks, for word problems, mathematics, code, choice and logic.

Words are looked up in fixed lists of English; of another language only the structure and the numbers are seen.
Nothing is asked of a model. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Raise this whenever a column changes its meaning or a word changes its list: artefacts name the version.
QUESTION_VERSION: Final = 1

_SEEN: Final = 20_000  # characters that are looked at

# Columns that count words: each word stands in one list only.
_LISTS: Final[Mapping[str, str]] = {
    "number_words": (  # numbers written as words
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million dozen dozens "
        "pair pairs couple"
    ),
    "multiples": (  # parts and multiples written as words
        "half halves twice thrice double doubles doubled triple triples tripled quadruple third thirds quarter "
        "quarters fourth fifth fifths sixth eighth tenth tenths"
    ),
    "ratios": (  # ratio, average, percentage, speed and the like
        "ratio ratios fraction fractions percent percentage average averages mean median rate rates speed proportion "
        "proportional discount interest tax increase increased increases decrease decreased decreases"
    ),
    "rates": "each per every apiece daily weekly monthly yearly hourly mph",  # so much for each
    "money": (
        "dollar dollars cent cents cost costs price prices priced pay pays paid buy buys bought sell sells sold spend "
        "spends spent earn earns earned money profit salary wage bill charge charges worth cheap cheaper expensive"
    ),
    "time": (
        "second seconds minute minutes hour hours day days week weeks month months year years monday tuesday wednesday "
        "thursday friday saturday sunday morning afternoon evening night today yesterday tomorrow age old am pm"
    ),
    "units": (
        "inch inches foot feet yard yards mile miles meter meters metre metres centimeter centimeters kilometer "
        "kilometers km cm mm ounce ounces pound pounds gram grams kilogram kilograms kg ton tons liter liters litre "
        "litres gallon gallons cup cups pint pints degrees"
    ),
    "comparisons": (
        "more less fewer than larger smaller greater bigger older younger taller shorter longer faster slower higher "
        "lower heavier lighter most least largest smallest greatest maximum minimum equal same"
    ),
    "conditions": "if unless when whenever suppose assume given let provided otherwise whether such",
    "steps": "then after before next first finally later afterwards afterward again until once start starts ends",
    "remains": "remaining remain remains remainder left rest leftover still needs missing gave gives lost away",
    "totals": "total totals altogether combined together sum both overall whole entire",
    "quantifiers": (  # and negations
        "all some any only exactly everyone someone nobody anyone always sometimes must either or not no never none "
        "nor neither without except cannot can't don't doesn't isn't won't"
    ),
    "logic": (  # of puzzles with statements
        "true false liar liars lies lie truth truthful knight knights knave knaves statement statements says said "
        "tells premise conclusion therefore implies puzzle"
    ),
    "asks": (  # what, which, who: for a fact
        "what which who whom whose where what's"
    ),
    "tasks": (  # to compute something
        "find compute calculate determine evaluate solve simplify express factor convert estimate"
    ),
    "proofs": "prove show explain why justify derive describe proof",  # to reason in words
    "code_words": (
        "def assert return returns function functions class import print string strings list lists array arrays int "
        "str bool self python code program output input index element elements null void elif"
    ),
    "geometry": (
        "triangle triangles circle circles angle angles radius diameter area perimeter square squares rectangle "
        "rectangles rectangular polygon cube sphere cylinder cone parallel perpendicular side sides length width "
        "height volume vertex vertices plane coordinates point points line segment chord tangent"
    ),
    "counting": (  # combinatorics and chance
        "probability ways way choose arrange arranged arrangements permutations combinations random randomly die dice "
        "coin coins card cards expected distinct different possible subsets committee"
    ),
    "number_theory": (
        "integer integers prime primes divisor divisors divisible divides modulo mod digit digits factors multiple "
        "congruent gcd lcm odd even base"
    ),
    "functions": (  # algebra and analysis
        "polynomial polynomials equation equations roots root real complex matrix vector vectors logarithm sin cos "
        "tan log quadratic sequence series arithmetic geometric limit derivative integral variable graph"
    ),
    "variables": "b c d e f g h j k l m n o p q r s t u v w x y z",  # letters that stand alone
}

QUESTION: Final[tuple[str, ...]] = (
    "sentences",  # lines count as well
    "sentence_words",  # words of a sentence, mean
    "longest_sentence",  # its words
    "last_sentence",  # its words
    "most_numbers",  # of a sentence
    "last_numbers",  # of the last sentence
    "decimals",  # numbers with a point
    "word_chars",  # characters of a word, mean
    "distinct",  # share of the words that are different
    "asked_at",  # place of the first question mark, as a share of the text; 1 if there is none
    "asked_last",  # 1 if the text ends with a question mark
    "fractions",  # as in 3/4 and \frac
    "percents",  # % signs
    "prices",  # $ before a digit, in a text without LaTeX
    "how_many",
    "how_much",
    "times_as",  # times as many, times more, times the
    "bounds",  # at least, at most, more than, less than, fewer than
    "roots",  # \sqrt
    "large_operators",  # \sum, \prod, \int, \lim
    "names",  # words with a capital inside a sentence
    "different_names",
    "items",  # lines that begin as those of a list do
    *_LISTS,
)

_KIND: Final[Mapping[str, int]] = {word: i for i, words in enumerate(_LISTS.values()) for word in words.split()}
_GAPS: Final = {ord(mark): " " for mark in '.,;:?!"()[]{}$*_`<>=-—“”…'}  # what parts words; an apostrophe does not
_ASCII_GAPS: Final = bytes(32 if code in _GAPS else code for code in range(256))
_LARGE: Final = ("\\sum", "\\prod", "\\int", "\\lim")
_BOUNDS: Final = ("at least ", "at most ", "more than ", "less than ", "fewer than ")
_NUMBER: Final = re.compile(r"[0-9][0-9]*(?:\.[0-9]+)?")  # searched faster than [0-9]+
_FRACTION: Final = re.compile(r"\d\s?/\s?\d")
_PRICE: Final = re.compile(r"\$\d")
# The look-behind stands after the capital, so that only capitals are looked at.
_NAME: Final = re.compile(r"[A-Z](?<=[a-z,;:] [A-Z])[a-z]+")
_ITEM: Final = re.compile(r"^(?:[-*•]|\d{1,3}[.)]) ", re.MULTILINE)


def question(prompt: str) -> list[float]:
    """The features of a prompt, in the order of `QUESTION`; all finite, for any text.

    Examples
    --------
    >>> found = dict(zip(QUESTION, question("A pen costs $3. How much are two pens?"), strict=True))
    >>> found["sentences"], found["how_much"], found["number_words"], found["prices"], found["asked_last"]
    (2.0, 1.0, 1.0, 1.0, 1.0)
    """
    text = prompt[:_SEEN]
    lowered = text.lower()
    if lowered.isascii():
        words = lowered.encode().translate(_ASCII_GAPS).decode().split()
    else:
        words = lowered.translate(_GAPS).split()
    counts = [0.0] * len(_LISTS)
    for kind in map(_KIND.get, words):
        if kind is not None:
            counts[kind] += 1.0
    names = _NAME.findall(text)
    bare, items = _without_items(text)
    return [
        *_of_sentences(bare),
        len("".join(words)) / max(len(words), 1),
        len(set(words)) / max(len(words), 1),
        *_of_marks(text),
        *_of_phrases(lowered),
        float(text.count("\\sqrt")),
        float(sum(map(text.count, _LARGE))) if "\\" in text else 0.0,
        float(len(names)),
        float(len(set(names))),
        float(items),
        *counts,
    ]


def _without_items(text: str) -> tuple[str, int]:
    """The text without the marks of its lists, as the point of "1. " ends no sentence; and how many these were."""
    if "\n" in text:
        return _ITEM.subn("", text)
    first = _ITEM.match(text)
    return (text, 0) if first is None else (text[first.end() :], 1)


def _of_sentences(text: str) -> tuple[float, ...]:
    """From `sentences` to `decimals`."""
    lines = text.replace(". ", ".\n").replace("? ", "?\n").replace("! ", "!\n").split("\n")
    sentences = [line for line in lines if line and not line.isspace()]
    if not sentences:
        return (0.0,) * 7
    lengths = [len(sentence.split()) for sentence in sentences]
    numbers = list(map(_NUMBER.findall, sentences))
    counts = list(map(len, numbers))
    return (
        float(len(sentences)),
        sum(lengths) / len(lengths),
        float(max(lengths)),
        float(lengths[-1]),
        float(max(counts)),
        float(counts[-1]),
        float(sum("".join(found).count(".") for found in numbers)),  # one point at most in each
    )


def _of_marks(text: str) -> tuple[float, ...]:
    """From `asked_at` to `prices`."""
    asked = text.find("?")
    latex = "\\" in text
    return (
        1.0 if asked < 0 else asked / len(text),
        float(text.rstrip().endswith("?")),
        float((len(_FRACTION.findall(text)) if "/" in text else 0) + (text.count("frac") if latex else 0)),
        float(text.count("%")),
        float(len(_PRICE.findall(text))) if "$" in text and not latex else 0.0,
    )


def _of_phrases(lowered: str) -> tuple[float, ...]:
    """From `how_many` to `bounds`."""
    count = lowered.count
    return (
        float(count("how many")),
        float(count("how much")),
        float(count("times as ") + count("times more ") + count("times the ")) if "times " in lowered else 0.0,
        float(sum(map(count, _BOUNDS))) if "than " in lowered or "at " in lowered else 0.0,
    )
