"""Which program a response hands over."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.verify.code_extract import extract

F = "def f(x):\n    return x\n"
TOLD = 'def f(x):\n    """\n    ```\n    f(1)\n    ```\n    """\n    return x\n'
CASES: dict[str, tuple[str, str, str | None, str | None]] = {
    # name: response, language, entry, what the program is
    "fenced": (f"Text\n```python\n{F}```\nDone", "python", None, F),
    "the last of two": (
        "```python\na = 1\n```\nBetter:\n```python\na = 2\n```", "python", None, "a = 2\n"),
    "the last that defines what is asked for": (
        f"```python\n{F}```\nUse it:\n```python\nprint(f(3))\n```", "python", "f", F),
    "an example of output afterwards": (
        f"```python\n{F}```\nIt prints\n```\n1 2 3\n```", "python", None, F),
    "a shell line afterwards": (
        f"```python\n{F}```\n```bash\npython main.py\n```", "python", None, F),
    "after the reasoning": (
        f"<think>\n```python\nwrong = 1\n```\n</think>\n```python\n{F}```", "python", None, F),
    "reasoning without its opening": (
        f"```python\nwrong = 1\n```\n</think>\n```python\n{F}```", "python", None, F),
    "reasoning that never ends": (f"<think>\n```python\n{F}```", "python", None, None),
    "a sky-t1 thought": (
        "<|begin_of_thought|>\n```python\nno = 1\n```\n<|end_of_thought|>\n\n"
        f"<|begin_of_solution|>\n```python\n{F}```\n<|end_of_solution|>", "python", None, F),
    "another language is passed over": (
        f"```python\n{F}```\n```cpp\nint main() {{}}\n```", "python", None, F),
    "its own language": (
        f"```python\n{F}```\n```c++\nint main() {{}}\n```", "cpp", None, "int main() {}\n"),
    "no word after the fence": (f"```\n{F}```", "python", None, F),
    "a version after the word": (f"```python3\n{F}```", "python", None, F),
    "attributes after the word": (f"```python {{.line-numbers}}\n{F}```", "python", None, F),
    "tildes": (f"~~~python\n{F}~~~", "python", None, F),
    "four ticks around three": (
        "````python\ns = '''\n```\n'''\n````", "python", None, "s = '''\n```\n'''\n"),
    "inside a list": ("1. So:\n   ```python\n   a = 1\n   if a:\n       a = 2\n   ```", "python",
                      None,
                      "a = 1\nif a:\n    a = 2\n"),
    "cut off": (f"```python\n{F}", "python", None, F),
    "unfenced": (F, "python", None, F),
    "unfenced among words": (f"Here is the answer:\n\n{F}\nIt returns x.", "python", None, F),
    "unfenced, another language": ("Sure:\n#include <cstdio>\nint main() {}", "cpp", None,
                                   "\n#include <cstdio>\nint main() {}"),
    "words alone": ("The answer is that it cannot be done.", "python", None, None),
    "a number alone": ("42", "python", None, None),
    "nothing": ("", "python", None, None),
    "windows lines": ("```python\r\na = 1\r\n```\r\n", "python", None, "a = 1\r\n"),
    "an interpreter session is no program": (
        f"```python\n{F}```\n```python\n>>> f(1)\n1\n```", "python", None, F),
    "its end on the last line of code": (
        "```python\nprint(1)```\nDone", "python", None, "print(1)"),
    "its end with words after it": (f"```python\n{F}``` That is all.", "python", None, F),
    "its end indented": (f"```python\n{F}    ```\nDone", "python", None, F),
    "words before its beginning": (f"Here it is:```python\n{F}```", "python", None, F),
    "assertions afterwards": (
        "```python\nprint(input())\n```\nChecks:\n```python\nassert 1 + 1 == 2\n```",
        "python", None, "print(input())\n"),
    "assertions afterwards, of a function": (
        f"```python\n{F}```\nChecks:\n```python\nassert f(1) == 1\n```", "python", "f", F),
    "samples of input and output afterwards": (
        "```python\nprint(input())\n```\nFor\n```\n5\n```\nit prints\n```\n5\n```",
        "python", None, "print(input())\n"),
    "what it costs, in a fence": (f"```python\n{F}```\n```\nO(n log n)\n```", "python", None, F),
    "a diff afterwards": (
        f"```python\n{F}```\nThe change:\n```diff\n-    return 0\n+    return x\n```",
        "python", None, F),
    "ticks in the words afterwards": (
        f"```python\n{F}```\n`f(3)` gives 3. Use ```f(3)``` anywhere.", "python", None, F),
    "a fence in the program's own words": (
        f"```python\n{TOLD}```\n{F}", "python", "f", TOLD),
    "a fence with a word in the program's own words": (
        "```python\n" + TOLD.replace("```", "```python", 1) + "```\n", "python", "f",
        TOLD.replace("```", "```python", 1)),
    "a second try that is cut off": (
        f"```python\n{F}```\nBetter:\n```python\ndef f(x):\n    return (", "python", "f", F),
    "a second try that only looks cut off": (
        f"```python\nx = 1\n```\nBetter:\n```python\n{F}", "python", "f", F),
    "steps, then all of it": (
        "```python\nn = int(input())\n```\n```python\nprint(n)\n```\nTogether:\n"
        "```python\nn = int(input())\nprint(n)\n```", "python", None,
        "n = int(input())\nprint(n)\n"),
    "c in a fence that says another": (
        "```cpp\nint main() { return 1; }\n```", "c", None, "int main() { return 1; }\n"),
    "both said": (
        "```c\nint main() { return 0; }\n```\n```cpp\nint main() { return 1; }\n```", "c", None,
        "int main() { return 0; }\n"),
    "only another language": ("```java\nclass A {}\n```", "python", None, None),
    "a thought whose fence stays open": (
        f"<think>\n```python\nx = 1\n</think>\n```python\n{F}```", "python", None, F),
    "in tags": (f"<answer>\n```python\n{F}```\n</answer>", "python", None, F),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_program_is_found(name: str) -> None:
    response, language, entry, wanted = CASES[name]
    found = extract(response, language, entry)
    assert (None if found is None else found.text.strip("\n")) == (
        None if wanted is None else wanted.strip("\n")
    )


@pytest.mark.parametrize("name", [n for n in CASES if n != "inside a list"])
def test_the_span_is_where_the_program_stands(name: str) -> None:
    response, language, entry, _ = CASES[name]
    found = extract(response, language, entry)
    if found is not None:
        assert response[slice(*found.span)] == found.text


def test_files_are_named_by_their_heading_or_their_fence() -> None:
    response = (
        "**`geometry.py`**\n```python\na = 1\n```\n"
        '```python title="shapes.py"\nb = 2\n```\n```python:main.py\nimport shapes\n```\n'
    )
    found = extract(response)
    assert found is not None
    assert found.text == "import shapes\n"
    assert found.files == {"geometry.py": "a = 1\n", "shapes.py": "b = 2\n"}


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("`~ \npython<>think/:defx()"), max_size=300))
def test_no_response_breaks_it(response: str) -> None:
    for language in ("python", "cpp"):
        found = extract(response, language, "x")
        assert found is None or found.span[0] <= found.span[1] <= len(response)
