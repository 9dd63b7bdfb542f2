"""A small run with one of everything that a report shows, and texts that want to break the page."""

import json
from pathlib import Path

import tracecraft as tc

PWN = "window.pwned=1"
HOSTILE = [
    f"</script><script>{PWN}</script>",
    f"<img src=x onerror={PWN}><svg onload={PWN}>",
    f"<!--<script>{PWN}//--><script>{PWN}</script>",
    f"[click](javascript:{PWN}) <a href='javascript:{PWN}'>me</a>",
    f"$\\href{{javascript:{PWN}}}{{x}} \\text{{<img src=x onerror={PWN}>}}$",
    "a\u2028b\u2029c\u0000d ]]> &lt;b&gt; ${" + PWN + "} `" + PWN + "`",
    f"```html\n<script>{PWN}</script>\n```\n<iframe srcdoc='<script>parent.{PWN}</script>'>",
    "\\frac" * 900 + "{" * 300 + "$" * 99 + "\\begin{array}" * 40,
    "<style>*{display:none}</style><base href='https://example.org/'><meta http-equiv=refresh>",
]
CAKE = (
    "A baker has seventeen trays of almond cake, sells nine of them before noon and bakes four "
    "more in the afternoon. How many trays of almond cake are there in the evening? Answer {}."
)
LEAK = "Let $x$ be the largest integer that is below the root of ninety and above {}; find it."
MATHS = r"""First $\frac{1}{2} + x^{2}_{i} \le \sqrt[3]{\alpha}$ and then
$$\sum_{k=1}^{n} k = \binom{n+1}{2}, \quad \left( \mathbb{R} \right)$$
\[ \begin{cases} x & y \\ z & \text{else} \end{cases} \] It costs $5 and $6.

```python
def f(n):  # a comment
    return "text" if n else 12
```

So \boxed{\dfrac{3}{4}} is **the** answer."""


def rows() -> list[dict[str, object]]:
    found = []

    def add(statement: str, answer: str | None, response: str, **more: object) -> None:
        told = {"reasoning": "thinking of it", "finish": "stop", "teacher": "t", "license": "MIT"}
        told |= {"source": "made", "domain": "math", "tokens": 100 + 7 * len(found)}
        told |= {"statement": statement, "answer": answer, "response": response, **more}
        found.append({"id": f"r{len(found)}", **told})

    for i, text in enumerate(HOSTILE):
        add(f"Problem {i}: {text}", "7", f"{text} so \\boxed{{7}}", reasoning=text, source=text)
    add("What is three quarters of one?", "3/4", MATHS, their_flag=False)
    for k in range(4):
        right = "\\boxed{12}" if k else "\\boxed{13}"
        add("What is 5 + 7?", "12", f"It is {right}", their_flag=bool(k % 2))
    add("What is 2 to the power of 5, as a whole number?", "32", "cut", finish="length")
    add("Say something about the sea.", None, "blue", domain="science")
    add(CAKE.format("shortly"), "12", "\\boxed{12}")
    add(CAKE.format("briefly"), "12", "\\boxed{12}")
    add(LEAK.format("two"), "9", "\\boxed{9}")
    add("What do the gated ones ask of us in this line, exactly as it stands here?", "1",
        "\\boxed{1}", source="gpqa_diamond")  # fmt: skip
    return found


RECIPE = """
name: rehearsal
seed: 17
inputs:
  traces:
    use: traces
    path: traces.jsonl
    map: {completion_tokens: tokens}
    keep: [their_flag]
stages:
  - {name: judged, use: verify, from: traces, verifier: {use: math}}
  - {name: again, use: verify, from: judged, prefix: second_, verifier: {use: math, policy: strict}}
  - {name: unique, use: dedupe, from: again, column: statement, threshold: 0.6, within: answer,
     keep: ["-completion_tokens"]}
  - {name: pure, use: decontaminate, from: unique, against: held-out.jsonl}
  - {name: kept, use: filter, from: pure, rules: rules.yaml}
  - {name: examples, use: pick, from: kept, per_problem: 1, prefer: shortest}
"""
RULES = """
name: rehearsal
rules:
  - {drop: wrong, when: outcome = 'incorrect', why: "a wrong one teaches <b>wrong</b>"}
  - {drop: unverified, when: "outcome IN ('unverifiable', 'failed')", why: nobody can tell}
"""


def workshop(folder: Path) -> Path:
    """The recipe's file, with what it reads beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    (folder / "traces.jsonl").write_text(lines)
    item = {"id": "h1", "question": LEAK.format("two"), "answer": "9"}
    (folder / "held-out.jsonl").write_text(json.dumps(item) + "\n")
    (folder / "rules.yaml").write_text(RULES)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


def rehearse(folder: Path) -> tc.Run:
    """The run."""
    return tc.run(tc.plan(tc.load_recipe(workshop(folder / "w")), folder / "runs"))
