import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracecraft.curate.hub import current_revision
from tracecraft.curate.source import Source
from tracecraft.errors import DataError, RecipeError
from tracecraft.schema import DOMAIN, QUESTION


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


@pytest.fixture
def repo(tmp_path) -> str:
    """A dataset repository as it lies on the hub: Parquet, a card, two configurations."""
    rows = [{"problem": f"p{i}", "answer": i, "source": "amc", "tags": ["a"]} for i in range(5)]
    for config in ("default", "hard"):
        folder = tmp_path / "set" / config
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows[: 3 if config == "hard" else 5]),
                       folder / "train-00000-of-00001.parquet")  # fmt: skip
    card = ["---", "configs:"]
    for config in ("default", "hard"):
        card += [f"- config_name: {config}", "  data_files:", "  - split: train"]
        card += [f"    path: {config}/*.parquet"]
    (tmp_path / "set/README.md").write_text("\n".join([*card, "---", ""]))
    return str(tmp_path / "set")


def bind(**options):
    return Source.bind({"use": "hub", "revision": "e4e141e", **options})


def test_rows_of_a_repository_carry_its_name_and_revision(repo):
    table = pl.concat(bind(repo=repo, domain="math", license="MIT").read())
    assert list(table.schema)[:4] == list(QUESTION)
    assert table["answer"].to_list() == ["0", "1", "2", "3", "4"]
    assert table["source"].unique().to_list() == [f"hf:{repo}@e4e141e"]
    assert table["theirs_source"].unique().to_list() == ["amc"]
    assert table.schema["domain"] == DOMAIN
    assert table["tags"].to_list() == [["a"]] * 5


def test_a_configuration_and_a_map_are_followed(repo):
    table = pl.concat(bind(repo=repo, config="hard", map={"statement": "tags.0"}).read())
    assert table["statement"].to_list() == ["a"] * 3


def test_a_source_without_revision_is_refused_with_the_way_out():
    with pytest.raises(RecipeError, match=r"has no revision\n.*run `tracecraft pin RECIPE`$"):
        Source.bind({"use": "hub", "repo": "org/set"})
    with pytest.raises(RecipeError, match="'main' moves"):
        bind(repo="org/set", revision="main")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "hadr"}, "BuilderConfig 'hadr' not found"),
        ({"split": "test"}, 'Unknown split "test"'),
        ({"map": {"answer": "anwser"}}, "did you mean 'answer'"),
    ],
)
def test_wrong_names_are_one_error(repo, options, message):
    with pytest.raises(DataError, match=message):
        list(bind(repo=repo, **options).read())


def test_what_is_neither_cached_nor_reachable_says_so():
    with pytest.raises(DataError, match=r"hf:org/absent@e4e141e: .*\n.*HF_TOKEN"):
        list(bind(repo="org/absent").read())
    with pytest.raises(DataError, match="hf:org/absent: "):
        current_revision("org/absent", "dataset")


def test_the_key_holds_the_revision(repo):
    one = bind(repo=repo).identity()
    assert one["revision"] == "e4e141e"
    assert json.dumps(one) != json.dumps(bind(repo=repo, revision="b1b1b1b").identity())
