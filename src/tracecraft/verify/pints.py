"""Units that our own table lacks, as pint knows them: slow to import, so in workers alone."""

import re
from fractions import Fraction
from functools import cache
from typing import Any

from tracecraft.verify.dimensions import Unit

__all__ = ["rate", "registry"]


@cache
def registry() -> Any:
    """Pint's registry; half a second to build."""
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)


def rate(own: Unit | None, into: Unit | None) -> Fraction:
    """How many of `into` one of `own` is; 1 where pint does not know either, so that only the
    numbers decide, and 0 where they measure different things.
    """
    if own is None or into is None:
        return Fraction(1)
    a, b = _parsed(own.name), _parsed(into.name)
    if a is None or b is None:
        return Fraction(1) if (a is None and b is None) or _kin(own, into) else Fraction(0)
    if a.dimensionality != b.dimensionality:
        return Fraction(0)
    return Fraction(float(a.to(b.units).magnitude))


def _parsed(name: str) -> Any:
    import pint

    text = re.sub(r"(?<=[A-Za-z])\s+(?=[A-Za-z])", "*", name).replace("^", "**")
    try:
        return registry().Quantity(1, text)
    except (pint.PintError, AttributeError, ValueError, TypeError, AssertionError, SyntaxError):
        return None


def _kin(a: Unit, b: Unit) -> bool:
    """Whether they share a word, as `dollars per share` and `dollars` do."""
    words = [set(u.unknown) for u in (a, b)]
    return bool({w.casefold() for w in words[0]} & {w.casefold() for w in words[1]})
