"""What LLaMA-Factory and axolotl are given: the same texts, and the same numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
from classroom import R1, backbone, dataset, talk, train

from tracecraft import yaml
from tracecraft.errors import RecipeError, UsageError
from tracecraft.train.backbone import Backbone
from tracecraft.train.chat import Chat


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone(tmp_path_factory.mktemp("backbone") / "pico", template=R1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = talk(1, "so " * 600)
    return dataset(tmp_path_factory.mktemp("data"), {"math": [*(talk(i) for i in range(5)), long]})


def exported(data: Path, student: Path, out: Path, name: str, **options: Any) -> dict[str, Any]:
    train(data, out, backbone=str(student), trainer={"use": name}, **options)
    found: dict[str, Any] = yaml.load(out / "branch.yaml", RecipeError)
    return found


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "branch.jsonl").read_text().splitlines()]


def test_llamafactory_gets_the_texts_under_a_template_that_adds_nothing(data, student, tmp_path):
    options = {"packing": "block", "lr": 1e-5, "schedule": "cosine", "epochs": 5, "batch": 32}
    config = exported(data, student, tmp_path / "out", "llamafactory", **options)
    chat = Chat.of(Backbone(str(student)).tokenizer(), None, [])
    said = chat.say([talk(i) for i in range(5)], 512)
    assert lines(tmp_path / "out") == [{"prompt": s.prompt, "answer": s.answer} for s in said]
    info = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert info["branch"]["columns"] == {"prompt": "prompt", "response": "answer"}
    assert info["branch"]["file_name"] == "branch.jsonl"
    expected = {
        "model_name_or_path": str(student),
        "stage": "sft",
        "finetuning_type": "full",
        "dataset": "branch",
        "template": "empty",
        "cutoff_len": 512,
        "packing": True,
        "neat_packing": True,
        "gradient_accumulation_steps": 32,
        "num_train_epochs": 5,
        "learning_rate": 1e-5,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "adam_beta2": 0.95,
    }
    assert {key: config[key] for key in expected} == expected
    assert (tmp_path / "out/chat_template.jinja").read_text() == R1


def test_axolotl_gets_the_texts_as_segments_of_which_it_learns_the_second(data, student, tmp_path):
    config = exported(data, student, tmp_path / "out", "axolotl", packing="block")
    first = lines(tmp_path / "out")[0]["segments"]
    assert [segment["label"] for segment in first] == [False, True]
    assert first[1]["text"].endswith("The sum is 0.<|im_end|>")
    assert config["datasets"] == [
        {"path": "branch.jsonl", "ds_type": "json", "type": "input_output"}
    ]
    assert config["sequence_len"] == 512
    assert config["sample_packing"] is True
    assert config["lr_scheduler"] == "constant_with_warmup"
    assert "adapter" not in config


def test_axolotl_cannot_pack_plainly(data, student, tmp_path):
    with pytest.raises(UsageError, match="do not see each other, or not at all"):
        exported(data, student, tmp_path / "out", "axolotl", packing="plain")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llamafactory", {"finetuning_type": "lora", "lora_rank": 8, "lora_target": "all"}),
        ("axolotl", {"adapter": "lora", "lora_r": 8, "lora_target_linear": True}),
    ],
)
def test_low_rank_is_said_in_their_words(data, student, tmp_path, name, expected):
    config = exported(data, student, tmp_path / "out", name, lora={"rank": 8})
    assert {key: config[key] for key in expected} == expected
