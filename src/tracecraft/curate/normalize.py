"""One form for every statement, and from it the problem's id."""

import hashlib
from typing import ClassVar, Literal

import polars as pl

from tracecraft.errors import DataError
from tracecraft.schema import DOMAIN, DOMAINS, DROPPED, PROBLEM, QUESTION
from tracecraft.stage import Stage

INVISIBLE = "[\u200b\u2060\ufeff]"
"""Zero-width space, word joiner, byte order mark: they show nothing and join nothing. The
zero-width (non-)joiners stay, since Persian, Hindi and emoji are written with them."""
ID_BYTES = 12
"""Of a problem's id: 24 hex characters; two of 10¹² problems collide with p = 6e-6 (birthday)."""


class Normalize(Stage, use="normalize", version=1):
    """Questions become problems: one Unicode form, one line ending, an id and a domain."""

    domain: Literal["math", "code", "science", "logic", "chat"] | None = None
    """The domain of all rows; without it the rows' own `domain`."""
    license: str | None = None
    """The licence of rows that name none."""
    source: str | None = None
    """The source of rows that name none."""
    delimiters: Literal["keep", "dollar"] = "keep"
    r"""How LaTeX is set off: as it is, or `\(…\)` as `$…$` and `\[…\]` as `$$…$$`."""

    reads: ClassVar[tuple[pl.Schema, ...]] = (QUESTION,)
    writes: ClassVar[pl.Schema] = PROBLEM

    def __call__(self, questions: pl.LazyFrame, /) -> pl.LazyFrame:
        names = questions.collect_schema().names()
        if self.domain is None and "domain" not in names:
            raise DataError(
                "normalize: the rows have no column 'domain'"
                f"\n  next   say domain: one of {', '.join(DOMAINS)}"
            )
        if "problem_id" in names:
            questions = questions.rename({"problem_id": "theirs_problem_id"})
        statement = clean(pl.col("statement"))
        if self.delimiters == "dollar":
            statement = dollars(statement)
        made = questions.with_columns(
            self._domain(),
            pl.col("source").fill_null(pl.lit(self.source, pl.String)),
            pl.col("license").fill_null(pl.lit(self.license, pl.String)),
            statement.alias("statement"),
            clean_answer(pl.col("answer")),
        ).with_columns(problem_id(pl.col("statement")).alias("problem_id"))
        empty = pl.col("statement").fill_null("") == ""
        dropped = pl.when(empty).then(pl.lit("empty_statement")).alias(DROPPED)
        others = [n for n in made.collect_schema().names() if n not in PROBLEM and n != DROPPED]
        return made.select(*PROBLEM, *others, dropped)

    def _domain(self) -> pl.Expr:
        if self.domain is not None:
            return pl.lit(self.domain, DOMAIN).alias("domain")
        return pl.col("domain").map_batches(_known, return_dtype=DOMAIN)


def clean(text: pl.Expr) -> pl.Expr:
    r"""Text in one form: NFC, `\n` line ends, nothing invisible, no spaces at a line's end.

    NFC joins a letter with its accent and changes no sign of mathematics; NFKC would turn x² into
    x2. Null stays null.
    """
    return (
        text.str.replace_all(INVISIBLE, "")
        .str.normalize("NFC")
        .str.replace_all("\r\n?", "\n")
        .str.replace_all(r"(?m)[ \t]+$", "")
        .str.strip_chars()
    )


def clean_answer(answer: pl.Expr) -> pl.Expr:
    """A reference answer in NFC without outer white space; a blank one is null."""
    bare = answer.str.normalize("NFC").str.strip_chars()
    return pl.when(bare != "").then(bare).alias("answer")


def dollars(text: pl.Expr) -> pl.Expr:
    r"""`\(…\)` as `$…$`, `\[…\]` as `$$…$$`; the line break of a matrix, `\\[2pt]`, stays."""
    return text.str.replace_all(r"(^|[^\\])\\[()]", "${1}$$").str.replace_all(
        r"(^|[^\\])\\[\[\]]", "${1}$$$$"
    )


def problem_id(statement: pl.Expr) -> pl.Expr:
    """The id of each statement: its blake2b in hex; letter case and white space do not count."""
    return statement.map_batches(_ids, return_dtype=pl.String)


def _ids(statements: pl.Series) -> pl.Series:
    return pl.Series(statements.name, [id_of(s or "") for s in statements], dtype=pl.String)


def id_of(statement: str) -> str:
    """The id of one clean statement, 24 hex characters."""
    plain = " ".join(statement.casefold().split())
    return hashlib.blake2b(plain.encode(), digest_size=ID_BYTES).hexdigest()


def _known(domains: pl.Series) -> pl.Series:
    texts = domains.cast(pl.String)
    strange = texts.filter(~texts.is_in(DOMAINS) | texts.is_null()).unique().sort().to_list()
    if strange:
        shown = ", ".join(map(repr, strange[:5]))
        raise DataError(
            f"normalize: column 'domain' holds {shown}, known are {', '.join(DOMAINS)}"
            "\n  next   say domain: NAME for all rows, or correct the column"
        )
    return texts.cast(DOMAIN)
