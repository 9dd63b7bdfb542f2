"""Branches really trained, of pico models: what is learnt, what is refused, what is left behind."""

import json
from pathlib import Path
from typing import Any

import pytest
from classroom import R1, backbone, dataset, talk, train

from tracecraft.errors import DataError, RecipeError, StageError
from tracecraft.train.branch import Train

TALKS = [talk(i) for i in range(16)]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone(tmp_path_factory.mktemp("backbone") / "pico")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("data"), {"code": TALKS[:3], "math": TALKS})


def history(branch: Path) -> list[dict[str, Any]]:
    return json.loads((branch / "branch.json").read_text())["history"]


def losses(branch: Path) -> list[float]:
    return [one["loss"] for one in history(branch)]


def test_a_branch_learns_loads_and_carries_what_made_it(data, student, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    told = train(data, tmp_path / "out", backbone=str(student), domain="math", epochs=6, lr=1e-2)
    branch = tmp_path / "out"
    assert losses(branch)[-1] < 0.8 * losses(branch)[0]
    assert [p.done for p in told[1:]] == list(range(1, 25))
    assert told[-1].total == 24
    assert told[-1].facts["examples"] == 16
    assert {"loss", "lr", "tokens/s", "seconds left"} <= told[-1].facts.keys()
    record = json.loads((branch / "branch.json").read_text())
    assert record["branch"]["lr"] == 1e-2
    assert record["counts"]["read"] == record["counts"]["kept"] == 16
    assert record["examples"][0]["domains"] == ["math"]
    tokenizer = AutoTokenizer.from_pretrained(branch)
    assert tokenizer.chat_template == record["template"]
    model = AutoModelForCausalLM.from_pretrained(branch)
    assert model.config.use_cache
    assert tokenizer.eos_token_id in model.generation_config.eos_token_id
    assert sorted(p.name for p in branch.iterdir()) == [
        "branch.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_packed_in_blocks_or_one_by_one_the_loss_is_the_same_and_packed_plainly_it_is_not(
    data, student, tmp_path
):
    # Gradients of all examples make one step, so each loss is the mean over the same tokens.
    options = {"backbone": str(student), "domain": "math", "epochs": 4, "warmup": 0.0, "lr": 1e-2}
    none = train(data, tmp_path / "none", batch=16, **options)
    block = train(data, tmp_path / "block", batch=16, packing="block", context=1000, **options)
    plain = train(data, tmp_path / "plain", batch=16, packing="plain", context=1000, **options)
    assert none[-1].facts["rows"] == 16
    assert block[-1].facts["rows"] == plain[-1].facts["rows"] < 10
    alone = losses(tmp_path / "none")
    assert losses(tmp_path / "block") == pytest.approx(alone, rel=1e-5)
    assert abs(losses(tmp_path / "plain")[-1] - alone[-1]) > 1e-3


def test_the_loss_is_on_the_answer_alone(data, student, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    train(data, tmp_path / "out", backbone=str(student), domain="code", batch=1, epochs=1)
    tokenizer = AutoTokenizer.from_pretrained(student)
    model = AutoModelForCausalLM.from_pretrained(student)
    first = min((step["loss"], step) for step in history(tmp_path / "out") if step["step"] == 1)[0]
    expected = []
    asked = {"tokenize": False, "add_generation_prompt": True}
    for talk_ in TALKS[:3]:
        prompt = tokenizer.apply_chat_template(talk_[:1], **asked)
        given = len(tokenizer(prompt)["input_ids"])
        ids = torch.tensor([tokenizer(prompt + talk_[1]["content"] + "<|im_end|>")["input_ids"]])
        with torch.no_grad():
            scores = model(ids).logits.log_softmax(-1)[0, given - 1 : -1]
        said = ids[0, given:]
        expected.append(-scores[range(len(said)), said].mean().item())
    assert min(abs(first - one) for one in expected) < 1e-4


def test_a_template_that_strips_thoughts_is_trained_without_loss_of_them(data, student, tmp_path):
    (tmp_path / "r1.jinja").write_text(R1)
    told = train(
        data, tmp_path / "out", backbone=str(student), template=str(tmp_path / "r1.jinja"),
        domain="code", epochs=1,
    )  # fmt: skip
    record = json.loads((tmp_path / "out/branch.json").read_text())
    assert record["template_strips_thoughts"]
    assert (tmp_path / "out/chat_template.jinja").read_text() == R1
    assert told[-1].facts["not passed"] == 0


def test_long_examples_are_dropped_and_counted(student, tmp_path):
    home = dataset(tmp_path / "data", {"math": [*TALKS[:4], talk(1, "so " * 600)]})
    told = train(home, tmp_path / "out", backbone=str(student), epochs=1)
    assert told[-1].facts["too long"] == 1
    assert told[-1].facts["examples"] == 4


def test_examples_that_fail_the_gate_stop_the_training_with_their_rule(student, tmp_path):
    home = dataset(tmp_path / "data", {"math": [*TALKS, talk(1, "a</think>b")]})
    with pytest.raises(DataError, match="stops 1 of 17 examples\n  1 of 17: not exactly one thou"):
        train(home, tmp_path / "out", backbone=str(student))
    told = train(home, tmp_path / "out2", backbone=str(student), tolerate=0.1, epochs=1)
    assert told[-1].facts["not passed"] == 1


def test_no_example_is_an_error(student, tmp_path):
    home = dataset(tmp_path / "data", {"math": []})
    with pytest.raises(DataError, match="no example is left to train on\n  the dataset has no"):
        train(home, tmp_path / "out", backbone=str(student))


def test_a_domain_that_is_not_there_is_named(data, student, tmp_path):
    with pytest.raises(DataError, match="no examples of the domain 'maths'; did you mean 'math'"):
        train(data, tmp_path / "out", backbone=str(student), domain="maths")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("org/model", "must be pinned to a commit"),
        ("org/model@main", "must be pinned to a commit"),
        ("./nowhere", "there is no folder ./nowhere"),
        ("/tmp", "holds no model"),
    ],
)
def test_a_backbone_that_is_not_there_is_seen_when_the_recipe_loads(name, told):
    with pytest.raises(RecipeError, match=told):
        Train.bind({"backbone": name})


def test_a_backbone_without_weights_is_an_error(data, student, tmp_path):
    bare = backbone(tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(DataError, match="cannot be loaded"):
        train(data, tmp_path / "out", backbone=str(bare))


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(data, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    sick = backbone(tmp_path / "sick")
    model = AutoModelForCausalLM.from_pretrained(sick)
    with torch.no_grad():
        model.model.norm.weight[0] = torch.nan
    model.save_pretrained(sick)
    with pytest.raises(StageError, match=r"(loss|grad_norm) is nan at step 1; checkpoints before"):
        train(data, tmp_path / "out", backbone=str(sick), trainer={"use": "trl", "save_every": 1})
    assert not list((tmp_path / "out-scratch/train/checkpoints").glob("checkpoint-*"))


def test_a_batch_that_does_not_divide_is_refused(data, student, tmp_path):
    with pytest.raises(ValueError, match="a batch of 4 rows does not divide over 1 processes of 3"):
        train(
            data, tmp_path / "out", backbone=str(student), trainer={"use": "trl", "per_device": 3}
        )


def test_rows_on_a_device_change_speed_and_not_the_result(data, student, tmp_path):
    options = {"backbone": str(student), "domain": "math", "epochs": 1, "batch": 8}
    train(data, tmp_path / "one", **options)
    train(data, tmp_path / "four", trainer={"use": "trl", "per_device": 4}, **options)
    assert losses(tmp_path / "four") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    few, many = ({"use": "trl", "per_device": n} for n in (1, 4))
    assert Train.bind({"trainer": few}).identity() == (Train.bind({"trainer": many}).identity())


def test_a_low_rank_branch_is_saved_as_a_whole_model(data, student, tmp_path):
    from transformers import AutoModelForCausalLM

    lora = {"rank": 4, "alpha": 8}
    options = {"backbone": str(student), "domain": "math", "epochs": 4, "lr": 1e-2}
    train(data, tmp_path / "out", lora=lora, **options)
    before = AutoModelForCausalLM.from_pretrained(student).state_dict()
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name or "embed" in name for name in changed)
    assert losses(tmp_path / "out")[-1] < losses(tmp_path / "out")[0]


def test_a_bfloat16_backbone_gives_a_bfloat16_branch(data, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    half = backbone(tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(half).to(torch.bfloat16).save_pretrained(half)
    train(data, tmp_path / "out", backbone=str(half), domain="code", epochs=1)
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_the_key_follows_the_content_of_backbone_and_template(tmp_path):
    one, two = backbone(tmp_path / "one"), backbone(tmp_path / "two")
    other = backbone(tmp_path / "other", seed=1)
    keys = [Train.bind({"backbone": str(one)}).identity() for one in (one, two, other)]
    assert keys[0] == keys[1] != keys[2]
