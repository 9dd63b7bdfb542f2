"""What only an accelerator has: bfloat16, activations computed twice, rows without a mask."""

import json
from pathlib import Path

import pytest
from classroom import backbone, dataset, talk, train

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone(tmp_path_factory.mktemp("backbone") / "pico")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("data"), {"math": [talk(i) for i in range(32)]})


def losses(out: Path) -> list[float]:
    return [one["loss"] for one in json.loads((out / "branch.json").read_text())["history"]]


def test_a_branch_learns_in_bfloat16_and_is_saved_as_its_backbone_is(data, student, tmp_path):
    train(data, tmp_path / "out", backbone=str(student), epochs=10, lr=3e-3, packing="block")
    record = json.loads((tmp_path / "out/branch.json").read_text())
    assert record["ran_on"]["device"].startswith("cuda")
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0]
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "float32"


def test_packed_or_not_and_checkpointed_or_not_the_loss_is_the_same(data, student, tmp_path):
    exact = {"use": "trl", "dtype": "float32"}
    options = {"backbone": str(student), "epochs": 3, "batch": 32, "warmup": 0.0}
    train(data, tmp_path / "none", trainer=exact, **options)
    train(data, tmp_path / "block", trainer=exact, packing="block", context=2000, **options)
    kept = {**exact, "gradient_checkpointing": False}
    train(data, tmp_path / "kept", trainer=kept, **options)
    alone = losses(tmp_path / "none")
    assert losses(tmp_path / "block") == pytest.approx(alone, rel=1e-4)
    assert losses(tmp_path / "kept") == pytest.approx(alone, rel=1e-4)
