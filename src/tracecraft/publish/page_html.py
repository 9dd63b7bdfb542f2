"""HTML as values: what is not markup of ours is escaped, and no style or handler gets in."""

from dataclasses import dataclass
from html import escape


class Html(str):
    """Markup that is safe to put into a page."""

    __slots__ = ()


Child = Html | str | int | None
_VOID = frozenset({"br", "circle", "input", "line", "link", "meta", "path", "rect"})


def text(value: object) -> Html:
    """Anything as text of a page."""
    return Html(escape(str(value), quote=True))


def joined(*children: Child, between: str = "") -> Html:
    """Several pieces one after the other; a plain string is text, None is nothing."""
    parts = [_child(child) for child in children if child is not None]
    return Html(escape(between).join(parts))


def tag(_name: str, *children: Child, **attributes: object) -> Html:
    """An element; `class_` is `class`, `aria_label` is `aria-label`, None and False leave it out.

    Raises:
        ValueError: an attribute that the page's content policy forbids: `style`, `on…`.
    """
    words = [_name]
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if name == "style" or name.startswith("on"):
            raise ValueError(f"<{_name} {name}>: the page's content policy forbids it")
        if value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f'{name}="{escape(str(value), quote=True)}"')
    head = " ".join(words)
    if _name in _VOID and not children:
        return Html(f"<{head}>" if _name in {"br", "input", "link", "meta"} else f"<{head}/>")
    return Html(f"<{head}>{joined(*children)}</{_name}>")


def table(
    head: list[str], rows: list[list[Child]], *, caption: str = "", class_: str | None = None
) -> Html:
    """A table whose first column names the row."""
    names = [tag("th", name, scope="col") for name in head]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption, class_="quiet") if caption else None,
            tag("thead", tag("tr", *names)),
            tag("tbody", *body),
        ),
        class_=f"scroll {class_ or ''}".strip(),
        tabindex=0,
        role="region",
        aria_label=caption or ", ".join(head),
    )


def folded(summary: Child, *children: Child, class_: str | None = None) -> Html:
    """What opens on demand."""
    return tag("details", tag("summary", summary), *children, class_=class_)


def _child(child: str | int) -> str:
    return child if isinstance(child, Html) else escape(str(child), quote=True)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    id: str
    title: str
    lead: Html
    body: Html

    def draw(self) -> Html:
        """As it stands in the page."""
        head = tag("h2", self.title, id=f"{self.id}-title")
        lead = tag("p", self.lead, class_="lead") if self.lead else None
        return tag("section", head, lead, self.body, id=self.id, aria_labelledby=f"{self.id}-title")
