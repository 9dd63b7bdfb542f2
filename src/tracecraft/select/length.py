"""Measures of length: characters, words, and tokens as the student counts them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from tracecraft.errors import DataError, MissingExtra
from tracecraft.plugin import file_digest
from tracecraft.select.measure import Measure


class Chars(Measure, use="chars", version=1):
    """Characters of a text."""

    column: str = "response"
    """The text."""

    def expr(self) -> pl.Expr:
        return pl.col(self.column).str.len_chars()


class Words(Measure, use="words", version=1):
    """Words of a text: what stands between white space."""

    column: str = "response"
    """The text."""

    def expr(self) -> pl.Expr:
        return pl.col(self.column).str.count_matches(r"\S+")


class Tokens(Measure, use="tokens", version=1):
    """Tokens of reasoning and response, as a student's tokenizer counts them.

    Without a tokenizer it is `completion_tokens`, what the teacher's engine counted.
    """

    tokenizer: Path | None = Field(default=None, strict=False)
    """A `tokenizer.json`, or the folder of a model that has one."""

    def expr(self) -> pl.Expr:
        if self.tokenizer is None:
            return pl.col("completion_tokens")
        tokenizer = _tokenizer(_file(self.tokenizer))

        def count(texts: pl.Series) -> pl.Series:
            batch = tokenizer.encode_batch_fast(
                [text or "" for text in texts], add_special_tokens=False
            )
            return pl.Series(texts.name, [len(one.ids) for one in batch], dtype=pl.Int32)

        text = pl.concat_str(pl.col("reasoning", "response").fill_null(""), separator="\n")
        return text.map_batches(count, return_dtype=pl.Int32, is_elementwise=True)

    def identity(self) -> dict[str, Any]:
        if self.tokenizer is None:
            return super().identity()
        return {**super().identity(), "tokenizer": file_digest(_file(self.tokenizer))}


def _file(path: Path) -> Path:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file}: no such tokenizer file")
    return file


@lru_cache(maxsize=4)
def _tokenizer(file: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise MissingExtra("tokenizers", "local", "counting tokens as the student does") from None
    return Tokenizer.from_file(str(file))
