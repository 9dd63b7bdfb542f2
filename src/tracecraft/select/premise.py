"""Does the trace itself say that the problem cannot be answered as it stands."""

import polars as pl

from tracecraft.select.measure import Measure

_WANT = r"(?:insufficient|mismatched|not enough|missing|incomplete|lacks?|lacking)"
_FACT = r"(?:information|data|details?|context|premise|condition)"
_DOUBT = (
    rf"(?i)\b{_WANT}\b[^.\n]{{0,40}}\b{_FACT}"
    rf"|\b{_FACT}\b[^.\n]{{0,30}}\b(?:is|are|was|were)\b[^.\n]{{0,20}}"
    r"\b(?:missing|insufficient|not (?:given|provided|enough|specified|mentioned))"
    r"|\b(?:cannot|can't) be (?:determined|answered|calculated|solved)"
    r"|\b(?:problem|question|statement)\b[^.\n]{0,40}"
    r"(?:contains? an error|ill-posed|unrelated|is (?:incomplete|flawed|missing)|typo)"
)


class Doubts(Measure, use="doubts", version=1):
    """How often a trace says that the problem lacks something; in the response it counts double.

    Two or more stand in 29 of 2,006 recorded traces (1.4%) of whole problems (GSM8K, MATH), and in
    665 of 906 (73%) of problems whose premise was taken away (arXiv 2504.06514); DeepSeek-R1 0 of
    52 and 89% of 300.
    """

    def expr(self) -> pl.Expr:
        told = {name: pl.col(name).fill_null("").str.count_matches(_DOUBT) for name in _WEIGHTS}
        weighed = [told[name] * weight for name, weight in _WEIGHTS.items()]
        return pl.sum_horizontal(weighed).cast(pl.Int32)


_WEIGHTS = {"reasoning": 1, "response": 2}
