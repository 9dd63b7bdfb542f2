"""What a pilot predicts, as a table or as JSON."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from tracecraft.cli.frame import stderr
from tracecraft.cli.show import print_json, print_table
from tracecraft.cli.watch import Watch
from tracecraft.distill.budget import Price
from tracecraft.errors import UsageError
from tracecraft.pilot import Forecast, Guess, pilot
from tracecraft.plan import Plan
from tracecraft.summary import Rate


def forecast(plan: Plan, share: str, price: Sequence[str], *, as_json: bool) -> None:
    """Run the pilot and print what it predicts."""
    part, cost = _share(share), _price(price)
    with Watch(stderr, as_json=False) as watch:
        found = pilot(plan, part, cost, watch)
    if as_json:
        print_json({"recipe": plan.recipe.name, "forecast": [asdict(one) for one in found]})
        return
    print_table([_row(one) for one in found], Console(), f"{plan.recipe.name}: pilot of {share}")
    stderr.print(
        "  95% intervals over problems; GPU-hours by the pilot's own speed, which a full run "
        "exceeds.\n  The pilot's completions are on file: the run will not ask for them again.",
        highlight=False,
    )


def _share(text: str) -> float:
    number = text.removesuffix("%")
    try:
        share = float(number) / (100 if number != text else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"--pilot {text}: say a share of the problems, as in --pilot 1%")
    return share


def _price(parts: Sequence[str]) -> Price:
    told = {}
    for part in (one for text in parts for one in text.split(",")):
        name, _, value = part.partition("=")
        try:
            told[name] = float(value)
        except ValueError:
            raise UsageError(
                f"--price {part}: say what costs how much, as in --price gpu_hour=2.5"
            ) from None
        if name not in Price.model_fields or told[name] < 0:
            known = ", ".join(Price.model_fields)
            raise UsageError(f"--price {part}: known are {known}, each 0 or more")
    return Price(**told)


def _row(one: Forecast) -> dict[str, str | None]:
    return {
        "stage": one.stage,
        "domain": one.domain,
        "asked": f"{one.asked:,} of {one.problems:,}",
        "prompt tokens": _sum(one.prompt_tokens),
        "output tokens": _sum(one.output_tokens),
        "GPU-hours": _sum(one.gpu_hours),
        "US$": _sum(one.usd),
        "truncated": _percent(one.truncated),
        "pass rate": _percent(one.pass_rate),
        "solved": None if one.solved is None else f"{one.solved:.1%}",
    }


def _percent(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]"


def _sum(guess: Guess | None) -> str | None:
    if guess is None:
        return None
    return f"{_short(guess.value)} [{_short(guess.low)}, {_short(guess.high)}]"


def _short(number: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if unit == 'k' else size):,.3g} {unit}"
    return f"{number:,.3g}"
