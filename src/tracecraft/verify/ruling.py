"""What a comparison of two answers came to, before the policy has its say."""

from dataclasses import dataclass

__all__ = ["OPEN", "Ruling", "both", "no", "unsure", "yes"]


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether two answers are one, the rule that said so, and the conventions it leaned on."""

    holds: bool | None
    """None: this cannot be told."""
    rule: str
    flags: tuple[str, ...] = ()
    """Conventions under which alone it holds; a strict policy grants none of them."""
    final: bool = True
    """False: another reader may know more."""

    def flagged(self, *flags: str) -> "Ruling":
        """The same, leaning on more conventions."""
        return Ruling(self.holds, self.rule, (*self.flags, *flags), self.final)


OPEN = Ruling(None, "not read", final=False)


def yes(rule: str, *flags: str) -> Ruling:
    """They are one answer."""
    return Ruling(holds=True, rule=rule, flags=flags)


def no(rule: str) -> Ruling:
    """They are two answers."""
    return Ruling(holds=False, rule=rule)


def unsure(rule: str) -> Ruling:
    """Nobody can tell from the two answers alone."""
    return Ruling(holds=None, rule=rule)


def both(rulings: "list[Ruling]", rule: str) -> Ruling:
    """All of them must hold; `rule` says which one did not."""
    for ruling in rulings:
        if ruling.holds is False:
            return no(rule)
    flags = tuple(dict.fromkeys(f for r in rulings for f in r.flags))
    for ruling in rulings:
        if ruling.holds is None:
            return Ruling(holds=None, rule=ruling.rule, flags=flags, final=ruling.final)
    return yes("value by value", *flags)
