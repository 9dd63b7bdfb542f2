"""Answers that are no mathematics: times of the day, days, letters of several options."""

import re
from fractions import Fraction

from tracecraft.verify.dates import day, weekday
from tracecraft.verify.ruling import Ruling, no, unsure, yes
from tracecraft.verify.words import bare, clock, options

__all__ = ["clocks", "days", "several_options"]

_RUN = re.compile(r"[A-H]{2,6}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def clocks(a: str, b: str) -> Ruling | None:
    left, right = clock(a), clock(b)
    for time, other in ((left, b), (right, a)):
        if time is not None and _NUMBER.fullmatch(other):
            full = time[1:3] == (0, 0) and Fraction(other) == time[0]
            return yes("clock", "full hour") if full else no("clock")
    if left is None or right is None:
        return None
    if left[:3] != right[:3]:
        (late, early) = sorted((left, right), key=lambda t: t[0] + 24 * (t[0] == 0), reverse=True)
        half = "pm" if late[0] else "am"  # 15:30 and 3:30 p.m., 0:30 and 12:30 a.m.
        same = abs(left[0] - right[0]) == 12 and left[1:3] == right[1:3] and not late[3]
        if same and early[3]:
            return yes("clock") if early[3] == half else no("clock")
        return unsure("a clock of 24 hours") if same else no("clock")
    if left[3] and right[3]:
        return yes("clock") if left[3] == right[3] else no("clock")
    return yes("clock", "half of the day") if left[3] != right[3] else yes("clock")


def days(a: str, b: str) -> Ruling | None:
    """Days of the calendar or of the week, however they are written."""
    names = weekday(bare(a)), weekday(bare(b))
    if names[0] is not None and names[1] is not None:
        return yes("day") if names[0] == names[1] else no("day")
    left, right = day(bare(a)), day(bare(b))
    if left is None or right is None:
        return None
    if left[1:] != right[1:] or (None not in (left[0], right[0]) and left[0] != right[0]):
        return no("day")
    return yes("day") if left[0] == right[0] else yes("day", "year")


def several_options(a: str, b: str) -> Ruling | None:
    """`I and III only` beside `I, III`; `ABD` beside `A, B, D`."""
    sets = [options(t) for t in (a, b)]
    run = False
    for i, text in enumerate((a, b)):
        if sets[i] is None and _RUN.fullmatch(text) and len({*text}) == len(text):
            sets[i], run = frozenset(text), True
    if sets[0] is None or sets[1] is None or max(len(s or ()) for s in sets) < 2:
        return None
    if run and min(len(s or ()) for s in sets) < 2:
        return None
    words = any("and" in t or "only" in t for t in (a, b))
    if not words and not run:
        return None
    if sets[0] != sets[1]:
        return no("options")
    return yes("options", "letters") if run else yes("options")
