"""From a trace to an SFT example: one user turn, one assistant turn with its thought inline."""

import hashlib

import polars as pl

from tracecraft.schema import DROPPED, EXAMPLE, MESSAGES
from tracecraft.select.format import TAGS
from tracecraft.think import CLOSE, OPEN


def dressed(table: pl.LazyFrame) -> pl.LazyFrame:
    r"""The table with the columns of an example; other columns stay.

    The assistant says `<think>\n…\n</think>\n\n…`, or the response alone where the trace holds no
    thought: an empty thought would teach to skip thinking. Stray tags inside either part are taken
    out, since a template would split there. Rows that are dropped get no messages.
    """
    if DROPPED not in table.collect_schema():
        table = table.with_columns(pl.lit(None, pl.String).alias(DROPPED))
    kept = pl.col(DROPPED).is_null()
    reasoning, response = _mended("reasoning"), _mended("response")
    thought = pl.format(f"{OPEN}\n{{}}\n{CLOSE}\n\n{{}}", reasoning, response)
    spoken = pl.when(reasoning == "").then(response).otherwise(thought)
    turns = pl.concat_list(
        _turn("user", pl.col("statement").str.strip_chars()), _turn("assistant", spoken)
    )
    messages = pl.when(kept).then(turns).otherwise(None).cast(MESSAGES)
    return table.with_columns(
        messages.alias("messages"), pl.col("completion_tokens").cast(pl.Int32).alias("tokens")
    ).with_columns(_id().alias("example_id"))


def _mended(column: str) -> pl.Expr:
    return pl.col(column).fill_null("").str.replace_all(TAGS, "").str.strip_chars()


def _turn(role: str, content: pl.Expr) -> pl.Expr:
    return pl.struct(pl.lit(role).alias("role"), content.alias("content"))


def _id() -> pl.Expr:
    """Hash of what is said, so that equal examples have one id; of the trace's id where dropped."""
    said = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\x1f")
    return pl.coalesce(said, pl.col("trace_id")).map_batches(
        _digests, return_dtype=EXAMPLE["example_id"], is_elementwise=True
    )


def _digests(texts: pl.Series) -> pl.Series:
    told = [
        None if text is None else hashlib.blake2b(text, digest_size=8).hexdigest()
        for text in texts.cast(pl.Binary)
    ]
    return pl.Series(texts.name, told, dtype=pl.String)
