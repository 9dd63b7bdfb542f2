"""Examples, pico backbones and chat templates to train with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tracecraft.publish.shards import write_part
from tracecraft.schema import EXAMPLE
from tracecraft.stage import Desk, Progress
from tracecraft.train.branch import Train
from tracecraft.train.pico import Pico

R1 = (
    "{{ '<|begin|>' }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' %}{% set said = m['content'] %}"
    "{% if '</think>' in said %}{% set said = said.split('</think>')[-1] %}{% endif %}"
    "{{ '<|Assistant|>' + said + '<|im_end|>' }}"
    "{% else %}{{ m['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"
)
"""Behaves as DeepSeek-R1's: it opens the thought, and forgets it in a finished turn."""


def talk(number: int, thought: str = "", question: str = "") -> list[dict[str, str]]:
    """An example: add two numbers, in steps."""
    one, two = number % 17, (number * 7) % 23
    thought = thought or f"{one} and {two}: " + ", ".join(str(one + i) for i in range(two))
    said = f"<think>\n{thought}\n</think>\n\nThe sum is {one + two}."
    return [
        {"role": "user", "content": question or f"What is {one} + {two}?"},
        {"role": "assistant", "content": said},
    ]


def dataset(home: Path, domains: dict[str, list[list[dict[str, str]]]]) -> Path:
    """A finished dataset in the home of the step that wrote it."""
    for domain, talks in domains.items():
        rows = pl.DataFrame(
            {
                "example_id": [f"{domain}-{i}" for i in range(len(talks))],
                "problem_id": [f"p{i}" for i in range(len(talks))],
                "trace_id": [f"t{i}" for i in range(len(talks))],
                "domain": [domain] * len(talks),
                "source": ["made"] * len(talks),
                "license": [None] * len(talks),
                "messages": talks,
                "tokens": [1] * len(talks),
            },
            schema=EXAMPLE,
        )
        write_part(iter([rows] if talks else []), EXAMPLE, home / "output" / domain)
    (home / "output/dataset_dict.json").write_text(json.dumps({"splits": list(domains)}))
    return home


def backbone(folder: Path, **options: Any) -> Path:
    """A pico model; its folder."""
    texts = [turn["content"] for i in range(40) for turn in talk(i)]
    made = Pico(**{"hidden": 32, "vocabulary": 320, **options})
    made.make(texts, folder)
    return folder


def train(
    data: Path, into: Path, also: Callable[[Progress], None] | None = None, **options: Any
) -> list[Progress]:
    """Train a branch into a folder; what was reported, to `also` too."""
    told: list[Progress] = []

    def report(progress: Progress) -> None:
        told.append(progress)
        if also:
            also(progress)

    into.mkdir(parents=True, exist_ok=True)
    desk = Desk(scratch=into.with_name(f"{into.name}-scratch"), report=report)
    few = {"epochs": 2, "batch": 4, "context": 512, "lr": 1e-3, "packing": "none"}
    branch = Train.bind({**few, **options})
    branch((data,), into, desk)
    return told
