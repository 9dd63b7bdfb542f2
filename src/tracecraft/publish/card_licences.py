"""What the licences of many sources ask for together. A help to decide, not a lawyer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["free", "credit", "alike", "not-for-profit", "unchanged", "other", "none"]

KINDS: tuple[tuple[str, Kind], ...] = (
    (r"cc0.*|unlicense|pddl|public-domain|0bsd|mit-0|wtfpl", "free"),
    (r"cc-by(-[\d.]+)?|odc-by|mit|apache-.*|bsd.*|isc|cdla-permissive.*", "credit"),
    (r"cc-by-nc-nd.*|cc-by-nd.*", "unchanged"),
    (r"cc-by-nc.*", "not-for-profit"),
    (r"cc-by-sa.*|odbl|gpl.*|lgpl.*|agpl.*|gfdl|cdla-sharing.*|c-uda", "alike"),
)
"""Identifiers of SPDX and the hub, in lower case, by what they ask for (creativecommons.org,
opendatacommons.org, cdla.dev)."""
ON_HUB = frozenset(
    [
        "afl-3.0",
        "agpl-3.0",
        "apache-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "c-uda",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "cdla-permissive-1.0",
        "cdla-permissive-2.0",
        "cdla-sharing-1.0",
        "gfdl",
        "gpl",
        "gpl-2.0",
        "gpl-3.0",
        "isc",
        "lgpl",
        "lgpl-2.1",
        "lgpl-3.0",
        "mit",
        "odbl",
        "odc-by",
        "pddl",
        "unlicense",
        "wtfpl",
    ]
)
"""Those of the above that the hub knows under this name (huggingface.co/docs/hub/repositories-
licenses); a card with another one is refused."""
MEANS: dict[Kind, str] = {
    "free": "asks for nothing",
    "credit": "keep notice and credit",
    "alike": "what is made of it goes under the same licence",
    "not-for-profit": "no commercial use",
    "unchanged": "may not be passed on changed",
    "other": "not known here, read it",
    "none": "no licence recorded",
}
ORDER: tuple[Kind, ...] = ("free", "credit", "alike", "not-for-profit")
"""From the least to the most that is asked for, where one licence can still cover all."""


@dataclass(frozen=True, slots=True)
class Together:
    """What several licences come to."""

    header: str
    """For the card's `license`: one of theirs, or `other`, or `unknown`."""
    says: tuple[str, ...]
    """In sentences."""


def spdx(licence: str | None) -> str:
    """A licence as the hub writes it: lower case, no spaces."""
    return re.sub(r"[\s_]+", "-", (licence or "").strip().lower())


def kind_of(licence: str | None) -> Kind:
    """What a licence asks for."""
    name = spdx(licence)
    if not name or name in {"unknown", "none", "null"}:
        return "none"
    return next((kind for pattern, kind in KINDS if re.fullmatch(pattern, name)), "other")


def together(licences: Iterable[str | None]) -> Together:
    """What holds for a collection of rows under these licences."""
    names: dict[Kind, set[str]] = {}
    for one in licences:
        names.setdefault(kind_of(one), set()).add(spdx(one))
    says, strict = [], max((ORDER.index(k) for k in names if k in ORDER), default=0)
    named = {kind: ", ".join(sorted(found)) for kind, found in names.items()}
    if "none" in names:
        says.append("Some rows come from sources without a recorded licence: find it out first.")
    if "unchanged" in names:
        says.append(f"{named['unchanged']}: passing on traces made from these rows is not allowed.")
    if "other" in names:
        says.append(f"{named['other']}: not known here; read what it asks for.")
    if "not-for-profit" in names:
        says.append(f"{named['not-for-profit']}: the whole may not be used commercially.")
    if len(names.get("alike", ())) > 1:
        says.append(f"{named['alike']}: each wants the whole under itself; they may not mix.")
    elif "alike" in names:
        says.append(f"{named['alike']}: the whole goes under the same licence.")
        if "not-for-profit" in names:
            says.append("That and a ban on commercial use contradict each other.")
    if not says and "credit" in names:
        says.append("All allow use and change; their notices and credits must stay.")
    return Together(_header(names, strict), tuple(says or ["Nothing is asked for."]))


def _header(names: dict[Kind, set[str]], strict: int) -> str:
    if names.keys() <= {"none"}:
        return "unknown"
    found = names.get(ORDER[strict], set())
    covered = names.keys() <= set(ORDER) and not {"alike", "not-for-profit"} <= names.keys()
    return next(iter(found)) if covered and len(found) == 1 and found <= ON_HUB else "other"
