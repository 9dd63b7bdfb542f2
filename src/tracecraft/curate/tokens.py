r"""What a leak is recognised by: letters and digits, without the typography around them.

A token is a run of letters or a run of digits. Case, accents, compatibility forms (a superscript
two, a full-width A), spacing, punctuation, `$`, `\\(` and LaTeX commands make no difference;
commands that are words (`\\sin`) or letters (`\\pi`) stay, as those. `1,000`, `1{,}000` and `1000`
are one token; a drawing between `[asy]` and `[/asy]` is none. In scripts that are written
without spaces each character is a token.

This file defines the tokens and serves small inputs; `grams.py` finds the same ones compiled.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracecraft.curate.shingle import CAST, MIX, STEP, U64

# Kinds of characters
BREAK, LETTER, DIGIT, ALONE, SILENT = range(5)
"""Ends a token; part of a word; part of a number; a token by itself; as if it were not there."""

COMMANDS = 256
"""Slots of the table of LaTeX commands that kernels look into."""
TOP = 0x20000
"""Code points from here on (rare Han, tags, private use) are tokens by themselves."""
_SPELT = """sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp max min sup
inf lim gcd lcm det dim ker mod deg"""
_GREEK = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma
tau upsilon phi chi psi omega"""
_MASK64 = (1 << 64) - 1
NUMBER = 0x510E527FADE682D1
"""The hash of any number, where numbers make no difference."""


class Tokens(NamedTuple):
    """The tokens of a text."""

    hashes: U64
    numbers: NDArray[np.bool_]
    """Which of them are numbers."""
    starts: NDArray[np.int32]
    """Byte offsets in the text as UTF-8; `ends` lie behind the last byte."""
    ends: NDArray[np.int32]

    @property
    def masked(self) -> U64:
        """The hashes, any number as any other."""
        return np.where(self.numbers, np.uint64(NUMBER), self.hashes)

    def part(self, some: slice) -> "Tokens":
        """Some of them in a row."""
        return Tokens(self.hashes[some], self.numbers[some], self.starts[some], self.ends[some])


def kind_of(character: str) -> int:
    """What a folded character does to a token."""
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return SILENT
    if category == "Nd":
        return DIGIT
    if category[0] != "L":
        return BREAK
    name = unicodedata.name(character, "")
    lonely = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
    return ALONE if name.startswith(lonely) else LETTER


@cache
def folded(character: str) -> tuple[tuple[int, int], ...]:
    """What is left of one character: (kind, code point) of each that it becomes."""
    spelt = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    raised = "<su" in unicodedata.decomposition(character)  # <super> or <sub>: 10² is not 102
    parts = [(BREAK, 0)] * raised
    for one in spelt:
        kind = kind_of(one)
        code = ord("0") + unicodedata.decimal(one) if kind == DIGIT else ord(one)
        parts.append((kind, code))
    return tuple(parts)


@cache
def tables() -> tuple[Any, ...]:
    """What kernels read: `folded` of every code point below `TOP` and what commands leave, flat.

    Where each code point's characters begin; their kinds; their code points; a table of command
    names' hashes; where each one's characters begin and end; the marks of a drawing, as bytes.
    """
    begins = np.zeros(TOP + 2, np.int64)
    flat: list[tuple[int, int]] = []
    for code in range(TOP):
        begins[code] = len(flat)
        # Han, by the ten thousand
        flat.extend(((ALONE, code),) if 0x3400 <= code < 0xA000 else folded(chr(code)))
    begins[TOP] = len(flat)
    flat.append((ALONE, 0))  # any code point above
    begins[TOP + 1] = len(flat)
    names = np.zeros(COMMANDS, np.uint64)
    places = np.full((COMMANDS, 2), len(flat), np.int64)
    places[:, 1] += 1
    flat.append((BREAK, 0))  # an unknown command
    for name, word in commands().items():
        key = polynomial(name)
        slot = ((key * int(CAST)) & _MASK64) >> 56
        while names[slot]:
            slot = (slot + 1) % COMMANDS
        names[slot], places[slot, 0] = key, len(flat)
        flat.extend([(BREAK, 0), *((LETTER, ord(one)) for one in word), (BREAK, 0)])
        places[slot, 1] = len(flat)
    kinds, codes = zip(*flat, strict=True)
    marks = (np.frombuffer(mark, np.uint8) for mark in (b"[asy]", b"[/asy]"))
    return begins, np.array(kinds, np.uint8), np.array(codes, np.uint32), names, places, *marks


@cache
def commands() -> dict[str, str]:
    r"""What LaTeX commands leave behind: the word that they are, or the letter.

    `\Pi` and `\varphi` are the same as `\pi` and `\phi`. All other commands leave nothing.
    """
    found = {name: name for name in _SPELT.split()}
    for name in _GREEK.split():
        spelt = name.upper().replace("LAMBDA", "LAMDA")  # as Unicode has it
        letter = unicodedata.lookup(f"GREEK SMALL LETTER {spelt}")
        found |= dict.fromkeys((name, name.capitalize(), f"var{name}"), letter)
    return found


_SPECIAL = re.compile(
    r"(?s)(?P<drawing>\[asy\].*?(?:\[/asy\]|\Z))|\\(?P<command>[A-Za-z]+)"
    r"|(?<=[0-9])(?P<comma>,|\{,\}|\\,|,\\!)(?=[0-9]{3}(?![0-9]))"
)


def tokens(text: str) -> Tokens:
    """The tokens of a text."""
    spelt: list[tuple[int, str, int, int]] = []
    kind, word, start, end = BREAK, "", 0, 0
    for one, code, at, behind in _characters(text):
        if one == SILENT:
            continue
        if one != kind or one in (BREAK, ALONE):
            if kind != BREAK:
                spelt.append((kind, word, start, end))
            kind, word, start = one, "", at
        word, end = word + chr(code), behind
    if kind != BREAK:
        spelt.append((kind, word, start, end))
    return Tokens(
        np.array([token_hash(word) for _, word, _, _ in spelt], np.uint64),
        np.array([kind == DIGIT for kind, _, _, _ in spelt], np.bool_),
        np.array([start for _, _, start, _ in spelt], np.int32),
        np.array([end for _, _, _, end in spelt], np.int32),
    )


def _characters(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Kind, folded code point, first byte and byte behind, of all that a text says."""
    at = 0  # in characters
    byte = 0
    for match in _SPECIAL.finditer(text):
        yield from _plain(text[at : match.start()], byte)
        byte += len(text[at : match.start()].encode())
        behind = byte + len(match[0].encode())
        if match["comma"]:
            yield SILENT, 0, byte, behind
        else:
            yield BREAK, 0, byte, behind
            for one in commands().get(match["command"] or "", ""):
                yield LETTER, ord(one), byte, behind
            yield BREAK, 0, byte, behind
        at, byte = match.end(), behind
    yield from _plain(text[at:], byte)


def _plain(text: str, byte: int) -> Iterator[tuple[int, int, int, int]]:
    for one in text:
        behind = byte + len(one.encode())
        for kind, code in folded(one) if ord(one) < TOP else ((ALONE, ord(one)),):
            yield kind, code, byte, behind
        byte = behind


def polynomial(word: str) -> int:
    """64 bits of a word: its code points are the factors of rising powers."""
    total, power = 0, 1
    for one in word:
        total = (total + (ord(one) + 1) * power) & _MASK64
        power = (power * int(STEP)) & _MASK64
    return total


@cache
def token_hash(word: str) -> int:
    """64 bits of a token: its polynomial, mixed."""
    total = polynomial(word)
    total ^= total >> 32
    total = (total * int(MIX)) & _MASK64
    return total ^ (total >> 29)


def digits_of(text: str, found: Tokens) -> U64:
    """The digits of all numbers among a text's tokens, one after the other."""
    data = text.encode()
    which = np.flatnonzero(found.numbers)
    spans = zip(found.starts[which].tolist(), found.ends[which].tolist(), strict=True)
    spelt = b"".join(data[start:end] for start, end in spans).decode()
    codes = [code for one in spelt for kind, code in folded(one) if kind == DIGIT]
    return np.array(codes, np.uint64)


def runs(hashes: U64, length: int) -> U64:
    """The hash of every run of `length` tokens."""
    count = max(len(hashes) - length + 1, 0)
    found = np.zeros(count, np.uint64)
    for j in range(length):
        found = found * STEP + hashes[j : j + count]
    found ^= found >> np.uint64(32)
    found *= MIX
    return found ^ (found >> np.uint64(29))
