"""Measures of form: is a trace whole, are its tags gone, how many answers does it box."""

import re

import polars as pl

from tracecraft.select.measure import Measure, by_row

_BOX = re.compile(rb"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(rb"(?<!\\)[{}]")
TAGS = r"</?think>|<\|(?:begin|end)_of_(?:thought|solution)\|>"
_TURNS = (
    r"<[|｜](?:im_(?:start|end)|endoftext|end[▁_]of[▁_]sentence|eot_id|start_header_id|User|Assistant)"
    r"[|｜]>|(?m:^ *(?:Human|User|Assistant) *:)"
)
_STRUCTURE = ("<think>", "<|begin_of_thought|>")


def boxes(text: bytes) -> list[tuple[int, int]]:
    r"""Start and end of what stands in each `\boxed{}` of a text; end -1 where it never closes."""
    found = []
    for box in _BOX.finditer(text):
        depth, end = 1, -1
        for brace in _BRACE.finditer(text, box.end()):
            depth += 1 if brace.group() == b"{" else -1
            if depth == 0:
                end = brace.start()
                break
        found.append((box.end(), end))
    return found


def _values(text: bytes) -> int:
    return len({b"".join(text[start:end].split()) for start, end in boxes(text) if end >= 0})


def _last(text: bytes) -> float | None:
    ends = [end for _, end in boxes(text) if end >= 0]
    return ends[-1] / len(text) if ends else None


def _open_box(text: bytes) -> bool:
    found = boxes(text)
    return bool(found) and found[-1][1] < 0


def _said(column: str) -> pl.Expr:
    return pl.col(column).fill_null("").str.contains(r"\S")


class BoxedCount(Measure, use="boxed_count", version=1):
    r"""How many `\boxed{}` the response holds."""

    def expr(self) -> pl.Expr:
        return pl.col("response").str.count_matches(r"\\(?:boxed|fbox)\s*\{").cast(pl.Int32)


class BoxedValues(Measure, use="boxed_values", version=1):
    """How many different contents the response boxes, white space aside."""

    def expr(self) -> pl.Expr:
        return by_row("response", _values, pl.Int32)


class BoxedAt(Measure, use="boxed_at", version=1):
    """Where the response's last box ends, as a share of its length; null without a box."""

    def expr(self) -> pl.Expr:
        return by_row("response", _last, pl.Float64)


class CutOff(Measure, use="cut_off", version=1):
    r"""Where a trace breaks off: `length`, `thought`, `fence` or `box`; null where it is whole.

    `length`: the engine stopped it. `thought`: it reasons and never responds; a trace that holds
    no thought at all is whole. `fence`, `box`: the response leaves a code fence or its last
    `\boxed{` open.
    """

    def expr(self) -> pl.Expr:
        response = pl.col("response").fill_null("")
        opened = pl.any_horizontal(response.str.starts_with(tag) for tag in _STRUCTURE)
        fences = response.str.count_matches(r"(?m)^[ \t]*```")
        shut = (fences % 2 == 0) | response.str.contains(r"```\s*\z")
        return (
            pl.when(pl.col("finish").cast(pl.String) == "length")
            .then(pl.lit("length"))
            .when((_said("reasoning") & ~_said("response")) | opened)
            .then(pl.lit("thought"))
            .when(~shut)
            .then(pl.lit("fence"))
            .when(by_row("response", _open_box, pl.Boolean))
            .then(pl.lit("box"))
        )


class ThinkTags(Measure, use="think_tags", version=1):
    """How many thought tags are left in reasoning and response; a trace split well has none."""

    def expr(self) -> pl.Expr:
        return pl.sum_horizontal(
            pl.col(column).str.count_matches(TAGS) for column in ("reasoning", "response")
        ).cast(pl.Int32)


class Turns(Measure, use="turns", version=1):
    """How many chat-template tokens or speakers' labels the trace holds: it went on by itself."""

    def expr(self) -> pl.Expr:
        return pl.sum_horizontal(
            pl.col(column).str.count_matches(_TURNS) for column in ("reasoning", "response")
        ).cast(pl.Int32)
