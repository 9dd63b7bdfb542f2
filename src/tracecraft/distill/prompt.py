"""Statement → message: templates are plain text with one hole, `{statement}`."""

from pathlib import Path

from tracecraft.errors import DataError

HOLE = "{statement}"

MATH = HOLE + "\n\nPlease reason step by step, and put your final answer within \\boxed{}."
"""What DeepSeek advises for R1: no system prompt, this instruction in the user's turn."""

OPENING = "<think>\n"
"""R1 now and then skips its thought unless the answer is made to begin with this."""


def load_template(path: Path) -> str:
    """The text of a template, without the line break that ends the file.

    Raises:
        DataError: it is not there, not UTF-8 text, or has no hole.
    """
    try:
        text = path.read_text("utf-8").removesuffix("\n")
    except OSError as error:
        raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text") from None
    if HOLE not in text:
        raise DataError(f"{path}: has no {HOLE}, so every problem would ask the same")
    return text


def fill(template: str, statement: str) -> str:
    r"""The template with the statement in its hole; all other braces (`\boxed{}`) stay."""
    return template.replace(HOLE, statement)


def begin(prompt: str, opening: str) -> str:
    """The prompt ending with `opening` once, also where a chat template wrote it already."""
    mark = opening.strip()
    if mark and prompt.rstrip().endswith(mark):
        return prompt
    return prompt + opening
