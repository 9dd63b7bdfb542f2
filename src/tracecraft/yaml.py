"""YAML as recipes and filter files speak it: version 1.2, no duplicate keys, errors with a line.

PyYAML reads `1e-5` as text, `no` as False, and lets the second of two equal keys win; hence
ruamel.yaml.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracecraft.errors import UsageError


def load(path: Path, error: Callable[[str], UsageError]) -> Any:
    """The content of a YAML file; `error` makes the exception for what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except IsADirectoryError:
        raise error(f"{path}: is a folder, not a file") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    return parse(text, str(path), error)


def parse(text: str, where: str, error: Callable[[str], UsageError]) -> Any:
    """The content of YAML text; `where` names it in messages."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        told = str(problem.problem or problem.context).partition("\n")[0]
        raise error(f"{where}{line}: not valid YAML: {told}") from None
    except YAMLError as problem:
        raise error(f"{where}: not valid YAML: {str(problem).partition(chr(10))[0]}") from None


def dump(value: Any) -> str:
    """YAML text that `parse` reads back."""
    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = None
    writer.width = 4096
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    buffer = io.StringIO()
    writer.dump(value, buffer)
    return buffer.getvalue()
