"""Files to start from: one's own plugin in under twenty lines, one's own filter."""

from pathlib import Path

HEAD = '''"""{what}; in a recipe: `plugins: [{name}.py]`."""

'''

SCAFFOLDS = {
    "verifier": '''from tracecraft import Verdict, Verifier


class {title}(Verifier, use="{name}"):
    """The response, stripped, is the answer."""

    ignore_case: bool = False
    """Compare case-insensitively."""

    def judge(self, problem, response):
        norm = str.casefold if self.ignore_case else str
        same = norm(response.strip()) == norm(problem["answer"])
        return Verdict("correct" if same else "incorrect", extracted=response.strip())
''',
    "measure": '''import polars as pl

from tracecraft import Measure


class {title}(Measure, use="{name}"):
    """How often the reasoning asks itself something."""

    def expr(self):
        return pl.col("reasoning").str.count_matches(r"\\?")
''',
    "engine": '''from tracecraft import Completion, Engine


class {title}(Engine, use="{name}"):
    """A teacher that repeats the problem."""

    prefix: str = ""
    """Said before the problem."""

    @property
    def teacher(self):
        return "{name}"

    def complete(self, prompts, sampling):
        said = [f"<think>{{p}}</think>{{self.prefix}}{{p}}" for p in prompts]
        return [Completion(text, "stop", 1, 1) for text in said]
''',
    "source": '''import polars as pl

from tracecraft import Source


class {title}(Source, use="{name}"):
    """Sums of two small numbers."""

    size: int = 10
    """How many."""

    def read(self):
        pairs = [(i, i + 1) for i in range(self.size)]
        yield pl.DataFrame(
            {{
                "source": ["{name}"] * self.size,
                "license": ["CC0-1.0"] * self.size,
                "statement": [f"What is {{a}} + {{b}}?" for a, b in pairs],
                "answer": [str(a + b) for a, b in pairs],
            }}
        )
''',
    "stage": '''import polars as pl

from tracecraft import Stage


class {title}(Stage, use="{name}"):
    """Drop statements that are too short."""

    characters: int = 10
    """Shorter than this is dropped."""

    def __call__(self, problems, /):
        short = pl.col("statement").str.len_chars() < self.characters
        return problems.with_columns(pl.when(short).then(pl.lit("short")).alias("dropped"))
''',
    "filter": """name: {name}
measures: []                    # columns to add first; `tracecraft list measures` names them
columns: {{}}                     # columns of your own that rules read: {{score: Float64}}
rules:                          # the first match names the drop; null never drops
  - drop: wrong
    when: outcome = 'incorrect'
    why: a student must not imitate a wrong derivation
cases:                          # the file tests itself: tracecraft check {name}.yaml
  - {{expect: keep,  row: {{outcome: correct}}}}
  - {{expect: wrong, row: {{outcome: incorrect}}}}
""",
}

CASES = {"verifier": "answer\tresponse\toutcome\n42\t42\tcorrect\n42\t41\tincorrect\n"}


def scaffold(kind: str, name: str) -> dict[Path, str]:
    """The files of a new plugin: path to text."""
    title = "".join(part.capitalize() for part in name.split("_"))
    body = SCAFFOLDS[kind].format(name=name, title=title)
    if kind == "filter":
        return {Path(f"{name}.yaml"): body}
    head = HEAD.format(what=f"A {kind} of one's own", name=name)
    files = {Path(f"{name}.py"): head + body}
    if kind in CASES:
        files[Path(f"{name}.tsv")] = CASES[kind]
    return files
