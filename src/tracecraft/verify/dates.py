"""Days as they are written: `July 4, 1776`, `4th of July`, `1776-07-04`, `Mon`."""

import re
from functools import lru_cache

__all__ = ["MONTHS", "day", "weekday"]

MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
]  # fmt: skip
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_MONTH = "(?P<month>" + "|".join(rf"{m[:3]}(?:{m[3:]})?\.?" for m in MONTHS) + r"|sept\.?)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s*(?:of\s+)?(?P<year>\d{4}))?"
_WRITTEN = [
    re.compile(rf"^{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}$"),
    re.compile(rf"^(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}$"),
    re.compile(r"^(?P<year>\d{4})[-/.](?P<number>\d{1,2})[-/.](?P<day>\d{1,2})$"),
    re.compile(
        r"^(?:(?P<year>\d{4})\s*[年년]\s*)?(?P<number>\d{1,2})\s*[月월]\s*(?P<day>\d{1,2})\s*[日号일]$"
    ),
]
_NAMED_DAY = re.compile(
    r"^(?:(?:on\s+)?a\s+)?(mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|satur|sat|sun)(day)?\.?$"
)


@lru_cache(maxsize=1 << 12)
def day(text: str) -> tuple[int | None, int, int] | None:
    """Year (where it is told), month and day; None for anything else."""
    if not any(c.isdigit() for c in text) or len(text) > 40:
        return None
    plain = re.sub(r"^(?:on\s+)?(?:" + "|".join(_DAYS) + r")\s*,\s*", "", text.lower().strip(" ."))
    for pattern in _WRITTEN:
        match = pattern.match(plain)
        if match is None:
            continue
        found = match.groupdict()
        name = found.get("month")
        month = (
            int(found["number"])
            if name is None
            else next(i for i, m in enumerate(MONTHS, 1) if m.startswith(name[:3]))
        )
        if not (1 <= month <= 12 and 1 <= int(found["day"]) <= 31):
            return None
        return int(found["year"]) if found.get("year") else None, month, int(found["day"])
    return None


def weekday(text: str) -> str | None:
    """The name of a day of the week, whole."""
    match = _NAMED_DAY.match(text.lower().strip(" ."))
    return None if match is None else next(d for d in _DAYS if d.startswith(match.group(1)[:3]))
