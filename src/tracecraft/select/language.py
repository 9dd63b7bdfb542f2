"""Measures of language: scripts that mix, hesitation, refusals, and a solver who knows the end."""

import re
from collections import Counter
from collections.abc import Iterable

import polars as pl

from tracecraft.select.measure import Measure

_SCRIPTS = {
    "cjk": (
        (0x2E80, 0x2FDF),
        (0x3005, 0x3007),
        (0x3040, 0x30FF),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0x20000, 0x323AF),
    ),
    "hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)),
    "cyrillic": ((0x0400, 0x052F),),
    "hebrew": ((0x0590, 0x05FF),),
    "arabic": ((0x0600, 0x06FF), (0x0750, 0x077F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "indic": ((0x0900, 0x0DFF),),
    "thai": ((0x0E00, 0x0E7F),),
    "other": ((0x0530, 0x058F), (0x0E80, 0x10FF), (0x1200, 0x1CFF)),
}
"""Blocks of Unicode per script. Latin and Greek are in none: they are notation everywhere."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_ASCII_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def _scripts(text: str) -> Counter[str]:
    """Letters of a text per script that is neither Latin nor Greek."""
    if text.isascii():
        return Counter()
    found: Counter[str] = Counter()
    for letter, times in Counter(_BEYOND_ASCII.findall(text)).items():
        if letter.isalpha():
            found[_script(ord(letter))] += times
    return found


def _script(code: int) -> str:
    for script, blocks in _SCRIPTS.items():
        if any(first <= code <= last for first, last in blocks):
            return script
    return "notation"


def foreign_letters(statement: str, text: str) -> float:
    """Share of a text's letters whose script the statement does not use; code aside."""
    if text.isascii():
        return 0.0
    text = _CODE.sub("", text)
    theirs = _scripts(text)
    ours = _scripts(statement)
    foreign = sum(n for script, n in theirs.items() if script != "notation" and script not in ours)
    raw = text.encode()
    letters = theirs.total() + len(raw) - len(raw.translate(None, _ASCII_LETTERS))
    return foreign / letters if letters else 0.0


class ForeignLetters(Measure, use="foreign_letters", version=1):
    """Share of the trace's letters in a script that its statement does not use, 0 to 1.

    Latin and Greek never count, being notation; nor does code. R1's own filter removed
    mixed-language thoughts (arXiv 2501.12948); to force one language cost 5.6 points elsewhere
    (arXiv 2507.15849), so look before dropping much.
    """

    def expr(self) -> pl.Expr:
        def share(rows: pl.Series) -> pl.Series:
            columns: Iterable[pl.Series] = rows.struct.unnest().iter_columns()
            told = [
                foreign_letters(statement or "", f"{reasoning or ''}\n{response or ''}")
                for statement, reasoning, response in zip(*columns, strict=True)
            ]
            return pl.Series(rows.name, told, dtype=pl.Float64)

        row = pl.struct("statement", "reasoning", "response")
        return row.map_batches(share, return_dtype=pl.Float64, is_elementwise=True)


class Hesitation(Measure, use="hesitation", version=1):
    """Self-corrections (`wait`, `hmm`, `actually`) per thousand characters of reasoning."""

    def expr(self) -> pl.Expr:
        text = pl.col("reasoning")
        count = text.str.count_matches(r"(?i)\b(?:wait|hmm+|actually|hold on)\b")
        return 1000 * count / text.str.len_chars().replace(0, None)


class Refusal(Measure, use="refusal", version=1):
    """Whether the response begins by declining, or speaks of itself as a language model."""

    def expr(self) -> pl.Expr:
        opening = (
            r"(?i)^\W*(?:i'?m (?:very )?sorry|i am sorry|sorry,|i apologi[sz]e|unfortunately,? i)"
            r"|^\W*(?i:i (?:cannot|can't|can’t|am unable to|am not able to|won't|will not) "
            r"(?:help|assist|answer|solve|provide|comply|do that|fulfil))"
            r"|(?i:\bas an? (?:ai|artificial intelligence|language model)\b)"
        )
        return pl.col("response").str.contains(opening)


class Hints(Measure, use="hints", version=1):
    """How often the trace speaks of an answer it was shown: a reference, a key, a solution."""

    def expr(self) -> pl.Expr:
        phrase = (
            r"(?i)\b(?:reference (?:answer|solution)|answer key|official (?:answer|solution)"
            r"|(?:provided|given) answer (?:is|says|states|was))\b"
        )
        return pl.sum_horizontal(
            pl.col(column).str.count_matches(phrase) for column in ("reasoning", "response")
        ).cast(pl.Int32)
