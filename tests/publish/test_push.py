import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hubstate import READER, STRANGER

from tracecraft.errors import DataError, UsageError
from tracecraft.publish.hub import push, ready
from tracecraft.publish.hub_bundle import dataset_bundle, model_bundle
from tracecraft.publish.parquet import write_parquet
from tracecraft.publish.parquet_parts import Part, parts_of
from tracecraft.publish.release import Release

READ = """
import datasets, json, sys
name = sys.argv[1]
math = datasets.load_dataset(name, "math", split="train")
raw = datasets.load_dataset(name, "raw", split="train", streaming=True)
default = datasets.load_dataset(name, split="train", streaming=True)
told = {"math": math.to_list(), "raw": list(raw), "default": list(default)}
print(json.dumps(told, default=str))
"""


def read_back(name: str) -> dict:
    done = subprocess.run([sys.executable, "-c", READ, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def folder_of(place: Path, texts: dict[str, list[str]]) -> Path:
    """A dataset's folder: a Parquet file a configuration."""
    for config, rows in texts.items():
        (place / config).mkdir(parents=True, exist_ok=True)
        table = pl.DataFrame({"text": rows, "source": "mine", "license": "MIT"})
        table.write_parquet(place / config / "train.parquet")
    return place


def put(folder: Path, into: Path, name: str = "org/set", **options):
    shutil.rmtree(into, ignore_errors=True)
    ready(name, "dataset")
    return push(dataset_bundle(name, [folder], into, **options))


@pytest.mark.parametrize("xet", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_what_was_pushed_is_read_back_whole_and_streamed(
    xet, hub, smoke_runs, tracecraft, monkeypatch
):
    monkeypatch.setenv("HF_HUB_DISABLE_XET", xet)
    tracecraft("push", "latest/dataset", "--repo", "org/set", "--store", smoke_runs)
    found = read_back("org/set")
    [examples] = (smoke_runs / "latest/dataset/math").glob("*.arrow")
    assert found["math"] == pl.read_ipc_stream(examples).to_dicts()
    assert found["default"] == found["math"]
    [raw] = (smoke_runs / "latest/dataset/raw/math").glob("*.arrow")
    assert [row["trace_id"] for row in found["raw"]] == pl.read_ipc_stream(raw)[
        "trace_id"
    ].to_list()
    assert (hub.count("PUT", "/lfs/") > 0) == (xet == "1")


def test_a_second_push_sends_nothing(hub, smoke_runs, tracecraft):
    arguments = ("push", "latest/dataset", "--repo", "org/set", "--store", smoke_runs)
    tracecraft(*arguments)
    repo = hub.repos["dataset", "org/set"]
    commits, put_before = len(repo.commits), hub.count("PUT", "")
    assert "nothing to do" in tracecraft(*arguments).stderr
    assert (len(repo.commits), hub.count("PUT", "")) == (commits, put_before)
    assert not (smoke_runs / "publish").exists(), "nothing is left over"


def test_the_card_tells_how_the_dataset_came_about(hub, smoke_runs, tracecraft):
    done = tracecraft(
        "push", "latest/dataset", "--repo", "org/set", "--store", smoke_runs, "--dry-run"
    )
    for said in (
        "## Funnel",
        "| unique | dedupe |",
        "policy strict",
        "| correct | 5 |",
        "samples a problem | 2",
        "apache-2.0",
        "tracecraft verify hub:org/set",
        "dataset_dir: REMOTE:org/set",
        "chat_template",
        "SFTConfig(max_length=1024)",
    ):
        assert said in done.stdout, said
    assert str(smoke_runs) not in done.stdout
    assert hub.repos == {}, "a dry run makes nothing"


def test_a_dry_run_needs_neither_token_nor_hub(hub, smoke_runs, tracecraft, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    arguments = ("push", "latest/dataset", "--repo", "org/set", "--store", smoke_runs)
    told = json.loads(tracecraft(*arguments, "--dry-run", "--json").stdout)
    assert "math/train-00000-of-00001.parquet" in told[0]["sent"]


def test_only_what_changed_goes_up_and_only_what_was_ours_goes(hub, tmp_path):
    mine = folder_of(tmp_path / "mine", {"math": ["a", "b"], "code": ["c"], "logic": ["d"]})
    put(mine, tmp_path / "made")
    repo = hub.repos["dataset", "org/set"]
    repo.commit({**repo.files, "theirs.txt": repo.files[".gitattributes"]}, "by hand")
    shutil.rmtree(mine / "logic")
    folder_of(mine, {"math": ["a", "b", "new"]})
    before = set(hub.lfs)
    done = put(mine, tmp_path / "made")
    math = "math/train-00000-of-00001.parquet"
    assert set(done.sent) == {math, "README.md", "tracecraft.json"}
    assert done.removed == ("logic/train-00000-of-00001.parquet",)
    assert len(set(hub.lfs) - before) == 1
    assert set(repo.files) == {
        ".gitattributes",
        "theirs.txt",
        "README.md",
        "tracecraft.json",
        math,
        "code/train-00000-of-00001.parquet",
    }
    assert repo.messages[-1] == "tracecraft: 3 files, 1 removed", "one commit does it all"


def test_words_and_keys_of_others_stay_in_the_card(hub, tmp_path):
    mine = folder_of(tmp_path / "mine", {"math": ["a"]})
    hub.repo(
        "dataset", "org/set", {"README.md": b"---\nlicense: other\nmy_key: 1\n---\n\nMy words\n"}
    )
    put(mine, tmp_path / "made")
    card = hub.text("dataset", "org/set", "README.md")
    assert "license: other\nmy_key: 1\n" in card
    assert "My words\n" in card
    assert "config_name: math" in card


def test_every_file_of_a_dataset_is_chunked_by_content_and_has_a_page_index(tmp_path):
    folder = folder_of(tmp_path / "mine", {"math": [f"row {n} " * 50 for n in range(3000)]})
    [part] = parts_of(folder)
    one = write_parquet(part, tmp_path / "one", lambda rows: None)
    two = write_parquet(part, tmp_path / "two", lambda rows: None)
    assert one.files[0].read_bytes() == two.files[0].read_bytes()
    column = pq.ParquetFile(one.files[0]).metadata.row_group(0).column(0)
    assert column.has_offset_index
    assert column.has_column_index
    assert column.compression == "ZSTD"
    assert one.tally.rows == 3000


def test_rows_that_differ_in_columns_share_a_configuration(tmp_path):
    left, right = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pl.DataFrame({"x": [1], "y": ["a"]}).write_parquet(left)
    pl.DataFrame({"x": [2], "z": [True]}).write_parquet(right)
    made = write_parquet(Part("math", (left, right)), tmp_path / "out", lambda rows: None)
    table = pl.read_parquet(made.files[0])
    assert table.to_dicts() == [{"x": 1, "y": "a", "z": None}, {"x": 2, "y": None, "z": True}]


def test_a_large_part_is_several_files_that_say_how_many(tmp_path, monkeypatch):
    monkeypatch.setattr("tracecraft.publish.parquet.FILE_BYTES", 20_000)
    monkeypatch.setattr("tracecraft.publish.parquet_parts.GROUP_BYTES", 10_000)
    folder = folder_of(tmp_path / "mine", {"math": [f"row {n}" * 20 for n in range(600)]})
    [part] = parts_of(folder)
    made = write_parquet(part, tmp_path / "out", lambda rows: None)
    assert len(made.files) > 2
    assert made.files[0].name == f"train-00000-of-{len(made.files):05d}.parquet"
    rows = [text for path in made.files for text in pl.read_parquet(path)["text"]]
    assert rows == [f"row {n}" * 20 for n in range(600)]


@pytest.mark.slow
def test_the_arrow_layout_loads_too(hub, smoke_runs, tmp_path):
    put(smoke_runs / "latest/dataset", tmp_path / "made", layout="arrow")
    assert len(read_back("org/set")["math"]) == 4


def test_a_stage_alone_is_a_dataset_too(hub, smoke_runs, tracecraft):
    told = tracecraft(
        "push", "latest/kept", "--repo", "org/kept", "--store", smoke_runs, "--json"
    ).stdout
    [done] = json.loads(told)
    assert "math/train-00000-of-00001.parquet" in done["sent"]
    assert done["created"] is True
    assert "SFTConfig" not in done["card"], "rows without messages are not for trainers"


def pico(place: Path) -> Path:
    place.mkdir(parents=True)
    config = {"architectures": ["LlamaForCausalLM"], "_name_or_path": "/data/ann/base"}
    (place / "config.json").write_text(json.dumps(config))
    (place / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}" + bytes(1000))
    (place / "tokenizer.json").write_text('{"vocab": {"/usr/bin/env": 1}}')
    (place / "chat_template.jinja").write_text("{{ messages }}")
    (place / "optimizer.pt").write_bytes(b"pickle")
    return place


def test_a_model_goes_up_with_tokenizer_and_template_and_without_places(hub, tmp_path):
    folder = pico(tmp_path / "model")
    ready("org/model", "model", private=True)
    done = push(model_bundle("org/model", folder, tmp_path / "made"))
    repo = hub.repos["model", "org/model"]
    assert repo.private
    assert set(done.sent) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "README.md",
        "tracecraft.json",
    }
    assert json.loads(hub.text("model", "org/model", "config.json"))["_name_or_path"] == "base"
    assert "/usr/bin/env" in hub.text("model", "org/model", "tokenizer.json")
    assert "vllm serve org/model" in hub.text("model", "org/model", "README.md")
    assert push(model_bundle("org/model", folder, tmp_path / "made")).commit is None


@pytest.mark.parametrize(
    ("token", "name", "said"),
    [
        (None, "org/set", "no access token"),
        ("hf_wrongwrongwrongwrong", "org/set", "does not accept the token"),
        (READER, "org/set", "may only read"),
        (STRANGER, "org/set", "may not make one under 'org'"),
        (STRANGER, "org/there", "not allowed"),
    ],
)
def test_who_may_not_write_is_told(token, name, said, hub, monkeypatch):
    hub.repo("dataset", "org/there")
    monkeypatch.delenv("HF_TOKEN")
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UsageError, match=said) as error:
        ready(name, "dataset")
    assert "  next   " in str(error.value) or "  known: " in str(error.value)
    assert (token or "hf_") not in str(error.value)
    assert set(hub.repos) == {("dataset", "org/there")}


def test_nothing_is_made_where_nothing_may_be_sent(hub, tmp_path, tracecraft, monkeypatch):
    folder = folder_of(tmp_path / "mine", {"math": ["a"]})
    (folder / "math/broken.parquet").write_bytes(b"no rows to be read here")
    monkeypatch.setenv("HF_TOKEN", READER)
    done = tracecraft("push", folder, "--repo", "org/set", code=2)
    assert "may only read" in done.stderr
    assert READER not in done.stderr


def test_private_data_does_not_go_into_a_public_repository(hub, tmp_path):
    hub.repo("dataset", "org/set")
    with pytest.raises(UsageError, match="public"):
        ready("org/set", "dataset", private=True)


@pytest.mark.parametrize("repo", ["set", "org/", "org/a/b", "org/a b", "org/a--b", "../x"])
def test_a_name_that_the_hub_does_not_take_is_refused(repo):
    with pytest.raises(UsageError, match="org/name"):
        Release.bind({"repo": repo, "data": ["dataset"]}, "r.yaml: publish")


def test_a_push_to_no_place_is_refused(tmp_path, tracecraft):
    folder = folder_of(tmp_path / "mine", {"math": ["a"]})
    assert "org/name" in tracecraft("push", folder, "--repo", "set", code=2).stderr
    assert "--repo is missing" in tracecraft("push", folder, code=2).stderr


def test_a_folder_with_neither_rows_nor_weights_is_refused(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="neither a dataset nor a model"):
        parts_of(tmp_path / "x")
    folder_of(tmp_path / "empty", {"math": []})
    with pytest.raises(DataError, match="holds no rows"):
        dataset_bundle("org/set", [tmp_path / "empty"], tmp_path / "made")
    with pytest.raises(UsageError, match="safetensors"):
        model_bundle("org/set", tmp_path / "x", tmp_path / "made")


def test_a_run_alone_pushes_what_its_recipe_says(hub, workshop, tracecraft):
    recipe = workshop / "recipes/smoke.yaml"
    tracecraft("run", recipe)
    assert "no section `publish`" in tracecraft("push", "latest", code=2).stderr
    said = "\npublish: {repo: org/said, private: true, data: [dataset]}\n"
    recipe.write_text(recipe.read_text() + said)
    tracecraft("run", recipe)
    tracecraft("push", "latest")
    repo = hub.repos["dataset", "org/said"]
    assert repo.private
    assert "math/train-00000-of-00001.parquet" in repo.files
    assert str(workshop) not in hub.text("dataset", "org/said", "tracecraft.json")


def test_scores_stand_in_the_card_of_the_model_they_are_about(tmp_path):
    from tracecraft.publish.card_model import Model, model_card
    from tracecraft.schema import SCORE

    rows = [
        ("aime24", "student", "avg@16", 0.75, 0.6, 0.9, 0.01, 0.05, 30, 16),
        ("aime24", "student", "maj@16", 0.8, None, None, None, None, 30, 16),
        ("aime24", "backbone", "avg@16", 0.7, 0.5, 0.8, 0.01, 0.05, 30, 16),
        ("aime24", "backbone", "maj@16", 0.75, None, None, None, None, 30, 16),
    ]
    pl.DataFrame(rows, SCORE, orient="row").write_parquet(tmp_path / "scores.parquet")
    folder, table = pico(tmp_path / "model"), tmp_path / "scores.parquet"
    text = model_card(Model("org/m", folder, "student", scores=(table,))).text
    assert "| aime24 | avg@16 | **student** | 0.750 | [0.600, 0.900] | 30 | 16 |" in text
    assert "| aime24 | avg@16 | backbone | 0.700 |" in text
    assert "| backbone | 0.750 |" not in text
    assert "## Scores" not in model_card(Model("org/m", folder, "other", scores=(table,))).text
