"""Measures of repetition: does a text end in a loop, how new is its end, how well it packs.

Each is linear in the length of the text and works on a few kilobytes at its end where it can.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from pydantic import Field

from tracecraft.select.measure import Measure, by_row

_NEEDLE = 32
_TRIES = 16
_LONG_WORD = 24
"""Mean bytes a word from which a text has no words: Chinese has some 60, English 5, code 8."""
_FEWEST = 30
"""Fewest n-grams from which a share is taken; shorter texts have no novelty (null)."""
_SENTENCE = re.compile("(?:[.?!\n。？！])+\\s*".encode())
_SPOKEN = 500
"""Fewest bytes of whole sentences from which a share is taken."""
_NUMBERS = bytes.maketrans(b"123456789", b"000000000")


def tail_loop(text: bytes, reach: int = 12_000) -> int:
    """Bytes at the end of a text that are one unit again and again (at least twice), or 0.

    The unit's length is a distance at which the last bytes occurred before; the longest run
    among the nearest such distances counts.
    """
    tail = text.rstrip()[-reach:]
    if len(tail) < 2 * _NEEDLE:
        return 0
    codes, needle = np.frombuffer(tail, np.uint8), tail[-_NEEDLE:]
    best, end = 0, len(tail) - 1
    for _ in range(_TRIES):
        at = tail.rfind(needle, 0, end)
        if at < 0:
            break
        end = at + _NEEDLE - 1
        period = len(tail) - _NEEDLE - at
        differ = np.flatnonzero(codes[period:] != codes[:-period])
        run = len(tail) - (int(differ[-1]) + 1 if differ.size else 0)
        if run >= 2 * period:
            best = max(best, run)
    return best


def novelty(text: bytes, ngram: int, window: int, *, masked: bool) -> float | None:
    """Share of the word n-grams in the last `window` bytes that occur there for the first time.

    Masked, every number is the same word, so that a loop that counts is a loop; the share is then
    never larger than without.
    """
    last = len(_words(text[-window:]))
    words = _words(_masked(text) if masked else text)
    grams = len(words) - ngram + 1
    last = min(last, grams)
    if last < _FEWEST:
        return None
    codes = np.fromiter(map(hash, words), np.int64, len(words)).view(np.uint64)
    mixed = np.zeros(grams, np.uint64)
    for i in range(ngram):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + codes[i : i + grams]
    new = set(mixed[grams - last :].tolist())
    new.difference_update(mixed[: grams - last].tolist())
    return len(new) / last


def sentence_novelty(text: bytes, window: int) -> float | None:
    """Share, by bytes, of the last `window` bytes' sentences that are said for the first time."""
    seen = set(_SENTENCE.split(text[:-window]))
    new = total = 0
    for sentence in _SENTENCE.split(text[-window:])[1:]:
        total += len(sentence)
        if sentence not in seen:
            new += len(sentence)
            seen.add(sentence)
    return new / total if total >= _SPOKEN else None


def _masked(text: bytes) -> bytes:
    text = text.translate(_NUMBERS)
    while b"00" in text:
        text = text.replace(b"00", b"0")
    return text


def _words(text: bytes) -> Sequence[bytes | str]:
    """What stands between white space, or characters where a script writes without spaces."""
    words = text.split()
    if len(text) > _LONG_WORD * len(words):
        return text.decode(errors="ignore")
    return words


def _packing(text: bytes) -> float | None:
    return len(text) / len(zlib.compress(text, 1)) if text else None


class Loop(Measure, use="loop", version=1):
    """How a trace's end repeats itself: `tail`, `sentences`, `stale`, `stale_masked`, or null.

    `tail`: one unit again and again. `sentences`: whole sentences said before, in any order.
    `stale`: word n-grams said before; `stale_masked`: the same but for the numbers. Each finds
    what the others miss: appended to 300 healthy thoughts, loops of a sentence, a paragraph, a
    template that counts, and of shuffled stock phrases are found 300 times of 300 each, loops of
    one token 297 times. Of 6,153 verified-correct recorded traces (R1, R1-Distill, QwQ, Qwen3,
    Sky-T1, s1.1; 70 MB with the wrong ones) one is named, an enumeration.
    """

    ngram: int = Field(default=8, ge=2)
    """Words in an n-gram."""
    window: int = Field(default=2_000, ge=200)
    """Bytes at the end that are looked at for what is new."""
    tail: int = Field(default=200, ge=64)
    """Bytes of exact repetition at the end from which it is a loop."""
    sentences: float = Field(default=0.20, ge=0, le=1)
    """Share of new sentences below which the end is a loop; healthy ones have 0.3 and more."""
    raw: float = Field(default=0.10, ge=0, le=1)
    """Share of new n-grams below which the end is stale."""
    masked: float = Field(default=0.05, ge=0, le=1)
    """The same with every number counted as one word."""

    def expr(self) -> pl.Expr:
        parts = [by_row(column, self.kind_of, pl.String) for column in ("reasoning", "response")]
        return pl.coalesce(parts)

    def kind_of(self, text: bytes) -> str | None:
        """Which detector names the text, None if none does."""
        if tail_loop(text) >= self.tail:
            return "tail"
        said = sentence_novelty(text, self.window)
        if said is not None and said < self.sentences:
            return "sentences"
        masked = novelty(text, self.ngram, self.window, masked=True)
        if masked is None or masked >= max(self.raw, self.masked):
            return None
        share = novelty(text, self.ngram, self.window, masked=False)
        if share is not None and share < self.raw:
            return "stale"
        return "stale_masked" if masked < self.masked else None


class TailLoop(Measure, use="tail_loop", version=1):
    """Bytes at the end of a text that are one unit again and again, 0 where there are none."""

    column: str = "reasoning"
    """The text."""

    def expr(self) -> pl.Expr:
        return by_row(self.column, tail_loop, pl.Int32)


class Novelty(Measure, use="novelty", version=1):
    """Share of word n-grams in the last `window` bytes of a text that are new there, 0 to 1."""

    column: str = "reasoning"
    """The text."""
    ngram: int = Field(default=8, ge=2)
    """Words in an n-gram."""
    window: int = Field(default=2_000, ge=200)
    """Bytes at the end that are looked at."""
    masked: bool = False
    """Count every number as one word."""

    def expr(self) -> pl.Expr:
        def kernel(text: bytes) -> float | None:
            return novelty(text, self.ngram, self.window, masked=self.masked)

        return by_row(self.column, kernel, pl.Float64)


class Compression(Measure, use="compression", version=1):
    """Bytes of a text per byte of its zlib packing (level 1); null for an empty one.

    A hint only: verified-correct traces reach 6.8, since ciphers, tables and short repeated
    lines pack well, and Whisper's 2.4 would drop nearly half of healthy mathematics.
    """

    column: str = "reasoning"
    """The text."""

    def expr(self) -> pl.Expr:
        return by_row(self.column, _packing, pl.Float64)
