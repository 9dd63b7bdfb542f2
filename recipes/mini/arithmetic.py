"""The three domains of the miniature and their teacher: written arithmetic, done column by column.

All three use the same digits and signs, each with its own convention: `7+5` is 12 in a sum and 2
in a program that is asked for last digits; `2-5` borrows ten in a difference, and is 7 there.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from types import MappingProxyType
from typing import ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tracecraft.curate.source import Source
from tracecraft.engine import Completion, Engine, Request, Session
from tracecraft.think import CLOSE, OPEN

Kind = Literal["sums", "differences", "programs"]
Part = Literal["early", "late", "validation", "test"]
Near = Callable[[int], int]
"""The right result of a line, or one beside it."""
DOMAINS: Mapping[Kind, str] = MappingProxyType(
    {"sums": "math", "differences": "science", "programs": "code"}
)
BASE = 10
PARTS: tuple[Part, ...] = ("early",) * 4 + ("late",) * 4 + ("validation", "test")
"""A statement's hash decides which part it is in, so that no two parts share one."""
SUM = re.compile(r"(\d+)\+(\d+)=\?")
DIFFERENCE = re.compile(r"(\d+)g-(\d+)g=\?")
PROGRAM = re.compile(r"x=(\d)((?:;x[+*-]=\d)+);x%10")
STATEMENT = re.compile(r"x([+*-])=(\d)")


class Drill(BaseModel):
    """How many problems of one kind, and how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int = Field(gt=0)
    """Problems."""
    lengths: tuple[int, int] = Field(strict=False)
    """Fewest and most digits of the first number, or statements of a program."""


class Drills(Source, use="drills", version=1):
    """Problems that a program makes: sums, differences in grams, tiny programs."""

    part: Part
    """`early` and `late` are for two times of training, where a problem may come twice;
    `validation` and `test` for scoring."""
    sums: Drill | None = None
    """Of the domain math."""
    differences: Drill | None = None
    """Of the domain science."""
    programs: Drill | None = None
    """Of the domain code."""
    seed: int = 0
    """What they are drawn from."""

    def read(self) -> Iterator[pl.DataFrame]:
        for kind, domain in DOMAINS.items():
            drill: Drill | None = getattr(self, kind)
            if drill is not None:
                yield self._drilled(kind, drill).with_columns(
                    pl.lit(f"drills:{kind}").alias("source"),
                    pl.lit("Apache-2.0").alias("license"),
                    pl.lit(domain).alias("domain"),
                )

    def _drilled(self, kind: Kind, drill: Drill) -> pl.DataFrame:
        rng = Random(f"{self.seed}:{kind}:{self.part}")
        rows: list[dict[str, str]] = []
        seen: set[str] = set()
        while len(rows) < drill.size:
            statement = _drawn(rng, kind, rng.randint(*drill.lengths))
            again = statement in seen and self.part in ("validation", "test")
            if part_of(statement) == self.part and not again:
                seen.add(statement)
                rows.append({"statement": statement, "answer": worked(statement)[1]})
        return pl.DataFrame(rows)


class Clerk(Engine, use="clerk", version=1):
    """A teacher that does the arithmetic line by line, and slips now and then."""

    slips: float = Field(default=0.02, ge=0, le=1)
    """Chance that a line's result is off by one; what follows builds on it."""

    teacher: ClassVar[str] = "clerk@1"  # type: ignore[misc]

    @contextmanager
    def open(self) -> Iterator[Session]:
        yield self

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        for request in requests:
            statement = request.prompt.partition(OPEN)[0].strip()
            lines, answer = worked(statement, Random(request.sampling.seed), self.slips)
            text = "\n".join(lines) + f"\n{CLOSE}\n\n\\boxed{{{answer}}}"
            yield request, Completion(text, "stop", completion_tokens=len(text))


def part_of(statement: str) -> Part:
    """The part that a statement belongs to."""
    return PARTS[hashlib.blake2b(statement.encode(), digest_size=8).digest()[0] % len(PARTS)]


def worked(statement: str, rng: Random | None = None, slips: float = 0.0) -> tuple[list[str], str]:
    """The lines that solve a statement, and the answer that they lead to."""

    def near(right: int) -> int:
        off = rng is not None and rng.random() < slips
        return right + (rng.choice((-1, 1)) if rng is not None and off else 0)

    if found := SUM.fullmatch(statement):
        return _sum(found[1], found[2], near)
    if found := DIFFERENCE.fullmatch(statement):
        return _difference(found[1], found[2], near)
    if found := PROGRAM.fullmatch(statement):
        return _program(int(found[1]), STATEMENT.findall(found[2]), near)
    raise ValueError(f"the clerk cannot read {statement!r}")


def _sum(one: str, two: str, near: Near) -> tuple[list[str], str]:
    lines, digits, carry = [], "", 0
    for u, v in _columns(one, two):
        total = max(0, near(u + v + carry))
        lines.append(f"{u}+{v}{'+1' if carry else ''}={total}")
        carry, digit = divmod(total, BASE)
        digits = f"{digit}{digits}"
    return lines, str(int(f"{carry}{digits}"))


def _difference(one: str, two: str, near: Near) -> tuple[list[str], str]:
    lines, digits, borrow = [], "", 0
    for u, v in _columns(one, two):
        lent = BASE if u < v + borrow else 0
        rest = min(9, max(0, near(u + lent - v - borrow)))
        lines.append(f"{u + lent}-{v}{'-1' if borrow else ''}={rest}")
        borrow, digits = int(lent > 0), f"{rest}{digits}"
    return lines, f"{int(digits)} g"


def _program(value: int, statements: list[tuple[str, str]], near: Near) -> tuple[list[str], str]:
    lines = []
    for sign, digit in statements:
        number = int(digit)
        made = {"+": value + number, "-": value - number, "*": value * number}[sign]
        last = near(made) % BASE
        lines.append(f"{value}{sign}{number}={last}")
        value = last
    return lines, str(value)


def _columns(one: str, two: str) -> Iterator[tuple[int, int]]:
    """Digit pairs from the right."""
    width = max(len(one), len(two))
    pairs = zip(one.zfill(width)[::-1], two.zfill(width)[::-1], strict=True)
    return ((int(u), int(v)) for u, v in pairs)


def _drawn(rng: Random, drill: Kind, length: int) -> str:
    if drill == "programs":
        said = [f"x{rng.choice('+-*')}={rng.randint(2, 9)}" for _ in range(length)]
        return f"x={rng.randint(0, 9)};{';'.join(said)};x%10"
    one = rng.randint(BASE ** (length - 1), BASE**length - 1)
    two = rng.randint(0, BASE ** rng.randint(1, length) - 1)
    if drill == "sums":
        return f"{one}+{two}=?"
    return f"{max(one, two)}g-{min(one, two)}g=?"
