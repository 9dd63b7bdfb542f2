"""A benchmark's rows as items to be asked: a date window, options in a seeded order, names."""

import hashlib
import math
from collections.abc import Sequence
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
import polars as pl
from pydantic import Field

from tracecraft.errors import DataError
from tracecraft.evaluate.benchmark import Window
from tracecraft.plugin import digest
from tracecraft.schema import DROPPED, OPTIONAL, QUESTION
from tracecraft.stage import Stage

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ITEM, ORDER = "item", "order"
_FEW = 5_040
"""Orders that are shuffled as a list, 7!; of more options, orders are drawn one by one."""


class Items(Stage, use="benchmark", version=1):
    """The items of a benchmark that count, each with its name and the statement it is asked with.

    Options are lettered in the statement and stand in `choices`; the answer becomes a letter. With
    `orders` an item becomes so many problems, each with its options in another order: what is
    asked when is decided by the item and the sample alone, so it is the same in every run.
    """

    benchmark: str
    """Its name, for messages."""
    id: tuple[str, ...] = Field(default=(), strict=False)
    """Columns that may name an item; without any, the digest of its statement does."""
    answered: bool = True
    """Whether a row without a reference answer is an error."""
    wrong: tuple[str, ...] = Field(default=(), strict=False)
    """Columns of wrong options beside `answer`; else options are in `choices`, if anywhere."""
    orders: int = Field(default=0, ge=0)
    """Into how many orders the options are put; 0 keeps theirs."""
    append: dict[str, str] = Field(default_factory=dict)
    """Column to text that follows the statement where the column is not empty."""
    window: Window | None = None
    """Which rows count, by their date."""
    seed: int = 0
    """Of the orders."""

    reads: ClassVar[tuple[pl.Schema, ...]] = (QUESTION,)
    writes: ClassVar[pl.Schema] = pl.Schema({**QUESTION, ITEM: pl.String(), ORDER: pl.Int32()})
    fans_out: ClassVar[bool] = True

    def __call__(self, questions: pl.LazyFrame, /) -> pl.LazyFrame:
        table = questions.collect()
        table = table.with_columns(self._named(table), self._outside(table).alias(DROPPED))
        inside = table.filter(pl.col(DROPPED).is_null())
        gone = table.filter(pl.col(DROPPED).is_not_null())
        self._check(inside)
        for column, text in self.append.items():
            inside = inside.with_columns(_appended(inside, column, text))
        made = self._lettered(inside)
        return pl.concat([made, gone], how="diagonal_relaxed").lazy()

    def _named(self, table: pl.DataFrame) -> pl.Series:
        lower = {name.lower(): name for name in table.columns}
        column = next((lower[name.lower()] for name in self.id if name.lower() in lower), None)
        if column is not None and not table[column].null_count():
            return table[column].cast(pl.String).alias(ITEM)
        texts = [" ".join((text or "").casefold().split()) for text in table["statement"]]
        return pl.Series(ITEM, [digest([text]) for text in texts], dtype=pl.String)

    def _outside(self, table: pl.DataFrame) -> pl.Series:
        """`outside_window` where a row's date is not in the window."""
        if self.window is None:
            return pl.Series([None] * table.height, dtype=pl.String)
        name = self.window.column
        if name not in table.columns:
            raise DataError(
                f"{self.benchmark}: no column {name!r} for its window"
                f"\n  columns: {', '.join(table.columns)}"
            )
        day = table[name].cast(pl.String).str.slice(0, 10)
        if day.null_count() or not day.str.contains(r"^\d{4}-\d\d-\d\d$").all():
            raise DataError(f"{self.benchmark}: column {name!r} holds what is no date")
        within = (day >= self.window.since) & (day < self.window.until)
        return within.replace_strict({True: None, False: "outside_window"}, return_dtype=pl.String)

    def _check(self, table: pl.DataFrame) -> None:
        blank = int(table["statement"].fill_null("").str.strip_chars().eq("").sum())
        lacking = table["answer"].null_count() if self.answered else 0
        if blank or lacking:
            raise DataError(
                f"{self.benchmark}: of {table.height} items {blank} have no statement and "
                f"{lacking} no answer\n  next   check the columns that `map:` names"
            )
        if table[ITEM].n_unique() < table.height:
            twice = table[ITEM].value_counts().filter(pl.col("count") > 1)
            raise DataError(
                f"{self.benchmark}: {twice.height} names of items stand for several rows"
                "\n  next   say which column names an item: id: [COLUMN]"
            )

    def _lettered(self, table: pl.DataFrame) -> pl.DataFrame:
        """The items with their options in every order that is asked for."""
        options = self._options(table)
        if options is None:
            return table.with_columns(pl.lit(0, pl.Int32).alias(ORDER))
        rows, statements, answers, choices, numbers = [], [], [], [], []
        asked = zip(table[ITEM], table["statement"], options, strict=True)
        for row, (item, statement, (right, texts)) in enumerate(asked):
            for number, order in enumerate(self._orders(item, len(texts))):
                put = [texts[place] for place in order]
                listed = "\n".join(f"({LETTERS[i]}) {one}" for i, one in enumerate(put))
                rows.append(row)
                numbers.append(number)
                statements.append(f"{statement.rstrip()}\n\n{listed}")
                answers.append(LETTERS[order.index(right)])
                choices.append(put)
        return table[rows].with_columns(
            pl.Series("statement", statements, dtype=pl.String),
            pl.Series("answer", answers, dtype=pl.String),
            pl.Series("choices", choices, dtype=OPTIONAL["choices"]),
            pl.Series(ORDER, numbers, dtype=pl.Int32),
        )

    def _orders(self, item: str, size: int) -> list[tuple[int, ...]]:
        """The first `orders` of the item's own list of orders, which repeats when it is through."""
        if not self.orders:
            return [tuple(range(size))]
        seed = hashlib.blake2b(f"{self.seed}|{item}".encode(), digest_size=8).digest()
        draw = np.random.default_rng(int.from_bytes(seed, "big"))
        if math.factorial(size) > _FEW:
            return [tuple(map(int, draw.permutation(size))) for _ in range(self.orders)]
        every = list(permutations(range(size)))
        shuffled = [every[place] for place in draw.permutation(len(every))]
        return [shuffled[number % len(shuffled)] for number in range(self.orders)]

    def _options(self, table: pl.DataFrame) -> list[tuple[int, list[str]]] | None:
        """Of each item where the right option stands, and all of them; None without options."""
        for name in self.wrong:
            if name not in table.columns:
                raise DataError(f"{self.benchmark}: no column {name!r} of wrong options")
        if self.wrong:
            columns = [table[name].cast(pl.String) for name in ("answer", *self.wrong)]
            parts = [[_tidy(text) for text in row] for row in zip(*columns, strict=True)]
            return [(0, row) for row in parts]
        if "choices" not in table.columns:
            if self.orders:
                raise DataError(f"{self.benchmark}: no column 'choices', and `wrong:` names none")
            return None
        pairs = zip(table["answer"], table["choices"].to_list(), strict=True)
        return [(self._place(answer, texts or []), list(texts or [])) for answer, texts in pairs]

    def _place(self, answer: str, texts: Sequence[str]) -> int:
        bare = answer.strip().strip("().")
        if len(bare) == 1 and bare.upper() in LETTERS[: len(texts)]:
            return LETTERS.index(bare.upper())
        if answer in texts:
            return list(texts).index(answer)
        if bare.isdecimal() and int(bare) < len(texts):
            return int(bare)
        raise DataError(
            f"{self.benchmark}: a reference answer is neither a letter, an index nor the text of "
            "one of its options"
        )


def _appended(table: pl.DataFrame, column: str, text: str) -> pl.Series:
    if column not in table.columns:
        return table["statement"]
    pairs = zip(table["statement"], table[column].cast(pl.String), strict=True)
    return pl.Series(
        "statement",
        [
            f"{said.rstrip()}\n\n{text.replace('{value}', held.strip())}"
            if held and held.strip()
            else said
            for said, held in pairs
        ],
        dtype=pl.String,
    )


def _tidy(text: Any) -> str:
    return str(text or "").strip()
