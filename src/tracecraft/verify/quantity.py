"""Quantities with units, chemical formulas and equations; what is neither goes to mathematics."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar

from pydantic import Field

from tracecraft.schema import Verdict
from tracecraft.verify.amounts import Amount, amount
from tracecraft.verify.closings import closing_amount, said_amount
from tracecraft.verify.decide import decided
from tracecraft.verify.dimensions import Unit, unit
from tracecraft.verify.extract import Extract, extracted, reference_answer
from tracecraft.verify.formula import chemical
from tracecraft.verify.normalise import normalised
from tracecraft.verify.policy import Policy, guess, verdict
from tracecraft.verify.ruling import Ruling, no, yes
from tracecraft.verify.verifier import Doubt, Verifier

__all__ = ["Quantity", "measured"]

_USUAL = Fraction(1, 100)
_COARSEST = Fraction(1, 20)
"""What a reference's last digit may grant at most: SciBench's own tolerance."""
_BEHIND = re.compile(
    r"\$*[\s~]*(?:\\[,;:! ]\s*)*(?P<unit>(?:\\(?:text|mathrm|textbf)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?"
    r"|[A-Za-z%°µμΩÅ]+(?:\^\{?-?\d+\}?|[²³])?|\^?\\circ|[/·]|\\cdot|\\%|\s(?=[a-zA-Z/(\\])|[()])+)"
)


_SCALED = re.compile(r"(?P<bare>[-+]?[\d.,]+)[\s$]*(?:\\mathrm\s*\{\s*)?10\s*\^")
"""A reference whose power of ten belongs to its unit, as in SciBench: no sign of a product."""
_DIRECTION = re.compile(
    r"(?<=[A-Za-z\d})\s])[\s,~$]+(?:\\text\s*\{\s*)?\(?(?:(?:directed|acting|pointing|due)\s+)?"
    r"(?:(?:vertically|horizontally|radially)\s+)?(?:(?:to|towards?|in)\s+the\s+)?"
    r"(?P<way>left|right|up|down|north|south|east|west|(?:counter|anti)?-?clockwise|inward|outward"
    r"|upward|downward|leftward|rightward|northward|southward|eastward|westward)(?:wards?|s)?"
    r"(?:\s+direction)?\)?\}?\s*\.?$",
    re.IGNORECASE,
)
_LETTERS_BEHIND = re.compile(
    r"(.*(?:[\d})]|\\pi))\s+(?!.*\^\{?[-\d.]*[A-Za-z])([A-Za-z][A-Za-z/^\d {}.-]*)$"
)
"""No letter stands in a unit's exponent: `e^{2t}` is a function."""
_TEN_BEHIND = re.compile(r"\$*\s*(?:\\times|\\cdot|[×x])?\s*\$*\s*10\s*\^[^\n.,;]*")


class Quantity(Verifier, use="quantity", version=1):
    """Compare value, unit and sign of the final answer with the reference quantity.

    The reference may have its unit in a column `unit`, and a power of ten in that unit, as
    SciBench's have. A whole number without a unit must be met exactly. Formulas and reaction
    equations are compared as such; anything else as mathematics.
    """

    policy: Policy = "lenient"
    """`strict` grants no convention: a unit that one side leaves out, a lost percent sign or a
    formula that is right in its composition alone is unverifiable. For training data. Neither
    policy believes an answer that its response or its thought calls a guess."""
    tolerance: float | None = Field(default=None, ge=0, lt=1)
    """The data set's own relative tolerance; without one, the larger of 1% and half a unit of
    the reference's last digit, the latter at most 5%."""

    columns: ClassVar[tuple[str, ...] | None] = ("answer", "unit", "reasoning")
    seconds: ClassVar[float] = 5.0
    memory: ClassVar[int] = 1 << 30

    def glance(self, problem: Mapping[str, Any], response: str) -> Verdict | Doubt:
        """The verdict where our own tables know the units."""
        reference = _reference(problem)
        loose = self.policy == "lenient"
        found = extracted(response, loose=loose)
        unread = found is not None and found.method == "whole" and amount(found.answer) is None
        if loose and (found is None or found.method == "tail" or unread):
            found = closing_amount(response) or found
        if found is None:
            return Verdict("unverifiable", detail="no answer found")
        found = said_amount(found)
        answer = _with_unit_behind(response, found)
        ruling = self.ruled(reference, answer)
        if ruling.holds is not False:
            guessed = guess(found, answer, response, problem)
            if guessed is not None:
                return guessed
        if ruling.final:
            span = (found.start, found.end)
            return verdict(ruling, answer, found.method, self.policy, span)
        return Doubt((reference, answer, found.method), answer, (found.start, found.end))

    def ruled(self, reference: str, answer: str) -> Ruling:
        """The ruling on two final answers."""
        (reference, wanted), (answer, taken) = _undirected(reference), _undirected(answer)
        if wanted and taken and wanted != taken:
            return no("another direction")
        want, given = amount(reference), amount(answer)
        if want is not None and given is not None:
            ruling = measured(want, given, self.tolerance)
            bare = _SCALED.match(reference) if given.unit is None and not ruling.holds else None
            alone = amount(bare.group("bare")) if bare else None
            if alone is not None and _close(alone, given, given.value, self.tolerance):
                return yes("quantity", "unit missing")
            return ruling
        chemistry = chemical(reference, answer) if want is None else None
        if chemistry is not None:
            return chemistry
        if want is None and given is not None and given.unit is not None:
            want = _computed(reference)
            if want is not None and want.unit is not None:
                return measured(want, given, self.tolerance)
            want = None
        if want is not None:
            computed = _computed(answer)
            if computed is not None:
                return measured(want, computed, self.tolerance)
        return decided(reference, answer)

    def settle(self, *question: str) -> Verdict:
        """The verdict of pint on units, or of Math-Verify on formulas, that `glance` left open."""
        reference, answer, method = question
        want, given = amount(reference), amount(answer)
        if want is not None and given is not None:
            from tracecraft.verify.pints import rate

            factor = rate(given.unit, want.unit)
            ruling = measured(want, given, self.tolerance, factor)
            return verdict(ruling, answer, method, self.policy)
        from tracecraft.verify.symbolic import symbolic

        ruling = symbolic(normalised(reference), normalised(answer))
        return verdict(ruling, answer, method, self.policy)

    def warm(self) -> None:
        from tracecraft.verify.pints import registry
        from tracecraft.verify.symbolic import prepare

        prepare()
        registry()


def measured(
    want: Amount, given: Amount, tolerance: float | None = None, rate: Fraction | None = None
) -> Ruling:
    """Whether a quantity meets the wanted one.

    Args:
        want: the reference.
        given: the answer.
        tolerance: relative; None as the option says.
        rate: how many of the wanted unit one of the given is, where other tables know; 0 if
            they measure different things.
    """
    flags: tuple[str, ...] = ()
    value = given.value
    lost: Unit | None = None
    if want.unit is None or given.unit is None:
        lost = want.unit or given.unit
        if want.unit is not None or (lost is not None and lost.percent):
            flags = ("unit missing",)
    elif rate is not None:
        if not rate:
            return no("another unit")
        value *= rate
    elif want.unit.dimension == given.unit.dimension and not want.unit.unknown:
        value = _converted(value, given.unit, want.unit)
    elif want.unit.unknown or given.unit.unknown:
        if (
            want.unit.name.casefold() != given.unit.name.casefold()
            and want.unit.unknown != given.unit.unknown
        ):
            return Ruling(holds=None, rule="units that the table lacks", final=False)
    else:
        return no("another unit")
    if _close(want, given, value, tolerance):
        return yes("quantity", *flags)
    if lost is not None and lost.percent:
        scaled = value * 100 if want.unit is not None else value / 100
        if _close(want, given, scaled, tolerance):
            return yes("quantity")
    return no("another value")


def _converted(value: Fraction, own: Unit, into: Unit) -> Fraction:
    """The value in another unit of the same dimension; scales of temperature by their zeros."""
    return (value * own.factor + own.offset - into.offset) / into.factor


def _close(want: Amount, given: Amount, value: Fraction, tolerance: float | None) -> bool:
    if value == want.value:
        return True
    if not want.value or (value > 0) != (want.value > 0):
        return False
    if want.integer and want.unit is None and given.unit is None:
        return _rounds(want, given, tolerance)
    off = abs(value - want.value)
    size = abs(want.value)
    if tolerance is not None:
        return off <= Fraction(tolerance) * size
    granted = max(_USUAL * size, min(want.step / 2, _COARSEST * size))
    return off <= max(granted, want.error or 0)


def _rounds(want: Amount, given: Amount, tolerance: float | None) -> bool:
    """Whether a decimal rounds to the whole number that is wanted, within the set's tolerance."""
    off = abs(given.value - want.value)
    if tolerance is None or given.integer:
        return False
    return off < Fraction(1, 2) and off <= Fraction(tolerance) * abs(want.value)


def _reference(problem: Mapping[str, Any]) -> str:
    answer, measure = reference_answer(str(problem["answer"]).strip()), problem.get("unit")
    if isinstance(measure, str) and measure.strip():
        measure = "dollar" if measure.strip() in {"$", "\\$", "$\\$$"} else measure
        alone = amount(answer)
        if alone is None or alone.unit is None:
            return f"{answer} {measure.strip()}"
    return answer


def _with_unit_behind(response: str, found: Extract) -> str:
    """The answer, with the unit that stands right behind its box."""
    if found.method not in {"box", "tail", "announced"}:
        return found.answer
    plain = amount(found.answer)
    if plain is None or plain.unit is not None:
        return found.answer
    ten = _TEN_BEHIND.match(response, found.end)
    if ten is not None and amount(f"{found.answer} {ten.group(0)}") is not None:
        return f"{found.answer} {ten.group(0)}"
    match = _BEHIND.match(response, found.end)
    if match is None or "\n" in match.group(0):
        return found.answer
    measure = unit(match.group("unit"))
    if measure is None or measure.unknown:
        return found.answer
    return f"{found.answer} {match.group('unit').strip()}"


def _undirected(text: str) -> tuple[str, str]:
    """A quantity without the direction that stands behind it, and the direction."""
    found = _DIRECTION.search(text)
    if found is None:
        return text, ""
    way = found.group("way").lower().removesuffix("ward").replace("anti", "counter")
    return text[: found.start()], way.replace("-", "")


def _computed(answer: str) -> Amount | None:
    r"""The value of an expression with its unit, as `\frac{\pi}{2} \text{ m}` is one."""
    from tracecraft.verify.evaluate import real
    from tracecraft.verify.grammar import Unparsed, parsed
    from tracecraft.verify.guards import refused
    from tracecraft.verify.units import split_unit

    bare = answer if "\\$" in answer else answer.replace("$", " ")
    plain = normalised(re.split(r"=|\\approx|≈", bare)[-1])
    head, name = split_unit(plain)
    behind = _LETTERS_BEHIND.match(plain) if name is None else None
    measure = unit(behind.group(2)) if behind is not None else None
    if behind is not None and measure is not None and not measure.unknown:
        head, name = behind.group(1), behind.group(2)
    if refused(head) is not None or len(head) > 200:
        return None
    try:
        value = real(parsed(head))
    except (Unparsed, ValueError, RecursionError, OverflowError):
        return None
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return Amount(Fraction(value), Fraction(0), 0, integer=False, unit=unit(name) if name else None)
