"""The miniature made small: real training, real merging, every model scored on every domain."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from places import ROOT

FEW = (
    "inputs.early.sums={size: 160, lengths: [1, 2]}",
    "inputs.early.differences={size: 160, lengths: [1, 2]}",
    "inputs.early.programs={size: 160, lengths: [1, 3]}",
    "inputs.longer.sums={size: 64, lengths: [1, 3]}",
    "inputs.longer.differences={size: 64, lengths: [1, 3]}",
    "inputs.longer.programs={size: 64, lengths: [2, 4]}",
    "inputs.late.sums={size: 96, lengths: [1, 3]}",
    "inputs.late.differences={size: 64, lengths: [1, 3]}",
    "inputs.late.programs={size: 64, lengths: [2, 4]}",
    "inputs.held.sums={size: 8, lengths: [1, 3]}",
    "inputs.held.differences={size: 8, lengths: [1, 3]}",
    "inputs.held.programs={size: 8, lengths: [2, 4]}",
    "stages.grown.epochs=3",
    "stages.backbone.epochs=2",
    "branches.math.epochs=4",
    "branches.math.lr=3.0e-4",
    "branches.science.epochs=4",
    "branches.science.lr=3.0e-4",
    "branches.code.epochs=4",
    "branches.code.lr=3.0e-4",
    "branches.mixture.epochs=4",
)
BRANCHES = ("math", "science", "code", "mixture")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Small:
    """A run of two seeds, and what it printed."""

    store: Path
    said: str

    @property
    def found(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = json.loads((self.store / "mini.json").read_text())
        return told

    def homes(self, name: str) -> list[Path]:
        """Where the seeds keep that step."""
        return sorted(self.store.glob(f"store/{name}-*[0-9a-f]/manifest.json"))

    def outputs(self, name: str, file: str) -> list[dict[str, Any]]:
        found = [home.with_name("output") / file for home in self.homes(name)]
        return [json.loads(one.read_text()) for one in found]


def mini(store: Path) -> str:
    sets = [word for one in FEW for word in ("--set", one)]
    command = [sys.executable, "tools/mini.py", "--seeds", "1", "2", "--store", str(store), *sets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    store = tmp_path_factory.mktemp("mini")
    return Small(store, mini(store))


def test_every_branch_learns(small):
    for name in BRANCHES:
        for told in small.outputs(name, "branch.json"):
            losses = [one["loss"] for one in told["history"]]
            assert sum(losses[-3:]) < sum(losses[:3])


def test_the_mixture_takes_the_steps_of_all_branches(small):
    for one in small.found:
        steps = {name: one["costs"][name]["steps"] for name in BRANCHES}
        assert abs(steps.pop("mixture") - sum(steps.values())) <= 2 * 4  # a last batch an epoch


def test_seeds_share_the_backbone_and_nothing_that_is_drawn(small):
    assert all(len(small.homes(name)) == 1 for name in ("grown", "backbone"))
    assert all(len(small.homes(name)) == 2 for name in ("dataset", "tests", *BRANCHES, "student"))


def test_a_fusion_takes_some_of_the_other_and_keeps_most_of_its_base(small):
    for name in ("reasoner", "student"):
        for told in small.outputs(name, "merge.json"):
            assert 0 < told["share"] < 0.5
            assert 0 < told["moved"] < told["delta"]


def test_every_model_is_scored_on_every_domain(small):
    for one in small.found:
        assert {"backbone", "student", "reversed", "linear", *BRANCHES} <= set(one["rights"])
        for rights in one["rights"].values():
            assert {domain: len(marks) for domain, marks in rights.items()} == {
                "math": 8,
                "code": 8,
                "science": 8,
            }
            assert {mark for marks in rights.values() for mark in marks} <= {0, 1}
    assert "| student − mixture |" in small.said


def test_a_second_run_makes_nothing(small):
    before = {path: path.stat().st_mtime_ns for path in small.store.glob("store/*/manifest.json")}
    again = mini(small.store)
    after = {path: path.stat().st_mtime_ns for path in small.store.glob("store/*/manifest.json")}
    assert after == before
    assert again == small.said
