"""A card: YAML header and text, put into a README that may be somebody else's already.

Ours is what stands between two markers and the header's keys that nobody changed since we wrote
them; everything else in the file stays as it is, but for line ends, which become those of Unix.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tracecraft import yaml
from tracecraft.errors import DataError

BEGIN = "<!-- tracecraft: written anew by every push, write outside of these two lines -->"
END = "<!-- /tracecraft -->"
OURS = ("configs", "dataset_info", "size_categories")
"""Keys that say where the rows lie: always ours, since nothing would load with others."""
UNITED = ("tags",)
"""Lists that get what they lack; what somebody added stays."""
BLOCK = re.compile(r"(?m)^(?=[^\s#\-][^\n]*:)")
PLAIN = re.compile(r"[A-Za-z](?:[\w./@+*-]| (?=\w))*")
"""Texts that need no quotes; `NOT_TEXT` are those that YAML 1.1 takes for something else."""
NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What YAML allows in no text as it is, beyond what JSON escapes."""
KEY = re.compile(r"[\"']?([^\s\"':][^\"':]*)[\"']?\s*:")


@dataclass(frozen=True, slots=True)
class Card:
    """What we have to say about a repository."""

    header: dict[str, Any]
    text: str

    def into(self, existing: str, before: Mapping[str, Any]) -> str:
        """The whole README.md.

        Args:
            existing: What stands there now; empty where there is none.
            before: The header that we wrote last time.

        Raises:
            DataError: the header that stands there is not YAML.
        """
        head, body = _split(existing)
        return f"---\n{_header(head, self.header, before)}---\n{_body(body, self.text)}"


def _split(text: str) -> tuple[str, str]:
    """Header without its fences, and the rest."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = re.match(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return (found[1], text[found.end() :]) if found else ("", text)


def _body(existing: str, text: str) -> str:
    ours = f"{BEGIN}\n{text.strip()}\n{END}"
    before, begun, rest = existing.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if begun and ended:
        return before + ours + after
    kept = existing.strip("\n")
    return f"\n{kept}\n\n{ours}\n" if kept else f"\n{ours}\n"


def _header(existing: str, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The header's text: their keys and comments where they were, ours brought up to date."""
    found = yaml.parse(existing, "README.md", DataError) if existing.strip() else {}
    if not isinstance(found, Mapping):
        raise DataError(
            "README.md: the header there is not a mapping of keys\n  next   mend it on the hub"
        )
    blocks = _blocks(existing, found)
    for key in [k for k in before if k not in wanted and k in blocks and before[k] == found[k]]:
        blocks[key] = ""  # ours, and no longer said
    for key, value in wanted.items():
        now = _value(key, value, found, before)
        if key not in found or now != found[key]:
            blocks[key] = yaml_block(key, now)
    return "".join(blocks.values())


def _value(key: str, value: Any, found: Mapping[str, Any], before: Mapping[str, Any]) -> Any:
    if key not in found or key in OURS:
        return value
    theirs = found[key]
    if key in UNITED and isinstance(theirs, list):
        gone = [one for one in before.get(key, []) if one not in value]
        kept = [one for one in theirs if one not in gone]
        return kept + [one for one in value if one not in kept and one not in before.get(key, [])]
    return value if theirs == before.get(key, object()) else theirs


def _blocks(text: str, found: Mapping[str, Any]) -> dict[str, str]:
    """The header's text by top-level key; comments above a key go with the one before it."""
    blocks: dict[str, str] = {}
    for piece in BLOCK.split(text):
        key = KEY.match(piece)
        blocks[key[1] if key else ""] = piece if piece.endswith("\n") or not piece else f"{piece}\n"
    if blocks.keys() - {""} != {str(key) for key in found}:  # flow style or the like: write it anew
        return {str(key): yaml_block(str(key), value) for key, value in found.items()}
    return blocks


def yaml_block(key: str, value: Any) -> str:
    """`key: value` in YAML that versions 1.1 and 1.2 read alike: the hub speaks one, PyYAML the
    other, so a text that either could take for something else stands in quotes.
    """
    return "\n".join(_lines({key: value}, "")) + "\n"


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", inner, indent)
    else:
        for inner in value:
            if isinstance(inner, (Mapping, list, tuple)) and inner:
                first, *rest = _lines(inner, f"{indent}  ")
                yield from (f"{indent}- {first.strip()}", *rest)
            else:
                yield f"{indent}- {_scalar(inner)}"


def _entry(head: str, inner: Any, indent: str) -> Iterator[str]:
    if isinstance(inner, (Mapping, list, tuple)) and inner:
        yield head
        yield from _lines(inner, f"{indent}  " if isinstance(inner, Mapping) else indent)
    else:
        yield f"{head} {_scalar(inner)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT
        if plain:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    text = json.dumps(value)  # YAML 1.1 knows a power of ten only behind a point
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text
