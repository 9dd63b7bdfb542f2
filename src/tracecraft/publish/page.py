"""A run as one HTML file that needs nothing else: no network, no library, no inline handler.

The content policy lets in this file's own script and style by their hashes and nothing besides;
texts of traces are data in a JSON element and reach the document only as text.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from tracecraft.publish.page_facts import Facts
from tracecraft.publish.page_html import Child, Html, Section, folded, joined, table, tag, text
from tracecraft.publish.page_sections import figures, headline, sections
from tracecraft.publish.page_traces import Sample, sample

TRACES = 300
"""Rows in the trace browser, unless asked for more."""
SCRIPTS = ("tex.js", "prose.js", "browser.js", "page.js")
STYLES = ("page.css", "figures.css")
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect "
    "width='16' height='16' rx='3' fill='%23275d68'/%3E%3Cpath d='M3 4h10M5 8h6M7 12h2' "
    "stroke='%23fff' stroke-width='2' stroke-linecap='round'/%3E%3C/svg%3E"
)
_SECRET = re.compile(
    r"(?im)((?:api_?key|token|secret|password|authorization)['\"]?\s*[:=]\s*)(?!\s|null|\{)[^\s,}]+"
    r"|\b(?:hf_|sk-)[A-Za-z0-9_-]{12,}"
)


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of the run beside its data."""

    run: str
    recipe: str = ""
    """The resolved recipe's text."""
    made: Mapping[str, str] = field(default_factory=dict)
    """When, by which versions."""
    why: Mapping[str, str] = field(default_factory=dict)
    """`step:rule` to the reason that its filter file gives."""


def page(facts: Facts, about: About, traces: int = TRACES) -> str:
    """The report of a run, as HTML; the same run gives the same text.

    Raises:
        StoreError: an output of the run is gone or damaged.
    """
    parts = list(sections(facts, about.why))
    found = sample(facts, traces)
    if found.total:
        parts.append(_browser(found))
    parts.append(_recipe(about))
    style = "".join(_asset(name) for name in STYLES)
    script = '"use strict";\n(() => {\n' + "".join(_asset(name) for name in SCRIPTS) + "})();\n"
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(script, style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="tracecraft"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href=ICON),
        tag("title", f"{about.run} · tracecraft"),
        Html(f"<style>{style}</style>"),
    )
    data = {"traces": found.rows, "why": about.why}
    body = joined(
        tag("a", "Skip to the report", href="#main", class_="skip"),
        _top(parts),
        tag("main", _title(facts, about), *(part.draw() for part in parts), id="main",
            tabindex=-1),
        tag("footer", "Made by tracecraft. Nothing on this page is loaded from elsewhere."),
        Html(f'<script type="application/json" id="data">{island(data)}</script>'),
        Html(f"<script>{script}</script>"),
    )  # fmt: skip
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>{body}</body>\n</html>\n'


def island(data: Any) -> str:
    """JSON that cannot end the element it stands in, nor a line of a script."""
    told = orjson.dumps(data, default=str).decode("utf-8", "replace")
    for sign in "<>&\u2028\u2029":
        told = told.replace(sign, f"\\u{ord(sign):04x}")
    return told


def _policy(script: str, style: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@cache
def _asset(name: str) -> str:
    return (files("tracecraft.publish") / "page" / name).read_text(encoding="utf-8")


def _top(parts: list[Section]) -> Html:
    links = [tag("li", tag("a", part.title, href=f"#{part.id}")) for part in parts]
    return tag(
        "header",
        tag("a", "tracecraft", href="#main", class_="brand"),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag("button", "Theme: system", id="theme", type="button"),
        class_="top",
    )


def _title(facts: Facts, about: About) -> Html:
    told = " · ".join(about.made[name] for name in ("ended", "status") if about.made.get(name))
    return tag(
        "div",
        tag("p", "run report", class_="kicker"),
        tag("h1", about.run),
        tag("p", headline(facts), class_="headline"),
        tag("p", told, class_="quiet") if told else None,
        figures(facts),
        class_="title",
    )


def _browser(found: Sample) -> Section:
    lead = f"{len(found.rows):,} of {found.total:,} rows: some of every way in which a row ended."
    if found.withheld:
        lead += f" Left out: {found.withheld:,} of a benchmark that asks not to be shown."

    def chooser(name: str, label: str) -> Html:
        return tag("label", label, tag("select", id=f"by-{name}"))

    search = tag(
        "input",
        id="search",
        type="search",
        placeholder="words, or an id",
        aria_keyshortcuts="/",
        autocomplete="off",
    )
    body = joined(
        tag(
            "div",
            tag("label", "Search ", search),
            chooser("outcome", "Outcome "), chooser("rule", "Ended "),
            chooser("domain", "Domain "), chooser("opinions", "Opinions "),
            tag("button", "Reset", id="reset", type="button"),
            class_="filters", role="search",
        ),
        tag("p", id="count", role="status", class_="quiet"),
        tag("ol", id="list", class_="traces"),
        tag("button", "Show more", id="more", type="button", hidden=True),
        tag("noscript", tag("p", "The trace browser needs JavaScript; the rest does not.")),
    )  # fmt: skip
    return Section("traces", "Traces", text(lead), body)


def _recipe(about: About) -> Section:
    rows: list[list[Child]] = [[name, value] for name, value in about.made.items() if value]
    recipe = _SECRET.sub(lambda hit: f"{hit[1] or ''}…", about.recipe)
    body = joined(
        folded("Recipe", tag("pre", tag("code", recipe), tabindex=0)) if recipe else None,
        table(["what", "version"], rows, caption="Versions") if rows else None,
    )
    return Section("recipe", "Recipe and versions", text("What to run to get this again."), body)
