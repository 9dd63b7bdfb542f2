"""Whole checkpoints, really merged: what comes out, what is refused, what survives a kill."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pico import Make, a_nan, contents, edited, maker, merging, save, weights_of

from tracecraft.errors import DataError, StageError
from tracecraft.merge import Report, fuse, merge_pair, preview, try_out
from tracecraft.merge.fold import Merge
from tracecraft.merge.methods import ArceeFusion, Linear
from tracecraft.merge.weights import Weights


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


def test_a_merged_checkpoint_is_its_tensors_fused(make, tmp_path):
    base, other = make("base"), make("other", 1)
    report = merge_pair(base, other, tmp_path / "out")
    before, after, merged = (weights_of(p) for p in (base, other, tmp_path / "out"))
    assert list(merged) == sorted(before)
    for row in report.tensors:
        fused = fuse(before[row.name], after[row.name])
        assert np.array_equal(merged[row.name], fused.tensor)
        assert row.share == pytest.approx(fused.share)
        assert row.threshold == pytest.approx(fused.threshold)
        assert row.kl == pytest.approx(fused.kl)
        moved = np.linalg.norm((merged[row.name] - before[row.name]).astype(np.float64))
        assert row.moved == pytest.approx(moved, rel=1e-5)
    assert 0 < report.share < 0.3
    assert Report.read(tmp_path / "out") == report


def test_everything_beside_the_weights_is_that_of_the_base(make, tmp_path):
    base, other = make("base", dtype="bfloat16"), make("other", 1, dtype="bfloat16")
    merge_pair(base, other, tmp_path / "out")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()
    assert json.loads((tmp_path / "out/config.json").read_text()) == json.loads(
        (base / "config.json").read_text()
    )
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_the_configuration_tells_the_float_type_that_was_written(make, tmp_path):
    base, other = make("base"), make("other", 1)
    merge_pair(base, other, tmp_path / "out", dtype="bfloat16")
    assert json.loads((tmp_path / "out/config.json").read_text())["torch_dtype"] == "bfloat16"
    header = (tmp_path / "out/model.safetensors").read_bytes()[8:400]
    assert b'"BF16"' in header


@pytest.mark.parametrize("mode", ["exact", "reference"])
def test_any_number_of_threads_gives_the_same_bytes(make, tmp_path, mode, monkeypatch):
    base, other = make("base", dtype="bfloat16"), make("other", 1, dtype="bfloat16")
    monkeypatch.setattr("tracecraft.merge.operands.BLOCK", 256)
    found = []
    for threads, whole in ((1, 1 << 24), (2, 1 << 24), (5, 64)):
        monkeypatch.setattr("tracecraft.merge.preflight.WHOLE_BYTES", whole)
        out = tmp_path / f"out{threads}"
        Merge(method=ArceeFusion(mode=mode), threads=threads).make([base, other], out)
        found.append(contents(out))
    assert found[0] == found[1] == found[2]


def test_shards_stay_and_the_index_lists_them(make, tmp_path):
    base, other = make("base", shards=3), make("other", 1, shards=2)
    merge_pair(base, other, tmp_path / "out")
    merge_pair(base, other, tmp_path / "again")
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    files = {p.name for p in base.glob("*.safetensors")}
    assert set(index["weight_map"].values()) == files
    assert index["metadata"]["total_size"] == sum(v.nbytes for v in weights_of(base).values())
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_a_finished_merge_is_kept_and_nothing_is_written(make, tmp_path):
    base, other = make("base"), make("other", 1)
    first = merge_pair(base, other, tmp_path / "out")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    assert merge_pair(base, other, tmp_path / "out") == first
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == times


def test_a_folder_with_something_else_is_left_alone(make, tmp_path):
    base, other = make("base"), make("other", 1)
    merge_pair(base, other, tmp_path / "out")
    with pytest.raises(DataError, match="holds another merge"):
        merge_pair(base, make("third", 2), tmp_path / "out")
    with pytest.raises(DataError, match="is one of the models"):
        merge_pair(base, other, other)


def test_what_two_models_do_not_share_is_said_before(make, tmp_path):
    tied, own = make("tied", tied=True), make("own", 1)
    half = make("half", 1, dtype="bfloat16")

    def notes(*models):
        return preview(models, tmp_path / "out", ArceeFusion(), dtype=None, threads=1).notes

    assert any("lm_head.weight of" in n and "left out" in n for n in notes(tied, own))
    assert any("is merged with the embedding" in n for n in notes(own, tied))
    assert any("holds bfloat16" in n and n.endswith("float32") for n in notes(own, half))
    assert notes(own, make("third", 2)) == ()


def test_a_tensor_that_is_held_may_become_twice_as_long(make, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    base, other = make("base", dtype="bfloat16"), make("other", 1, dtype="bfloat16")
    wide = {"wide.weight": np.random.default_rng(3).normal(size=(2200, 2000)).astype(np.float32)}
    for i, root in enumerate((base, other)):
        save(root, {"wide.weight": wide["wide.weight"] * (1 + i / 64)}, 1, "bfloat16")
    merge_pair(base, other, tmp_path / "out", dtype="float32")
    merge_pair(base, other, tmp_path / "narrow")
    one, two = (load_file(tmp_path / f"{name}/model.safetensors") for name in ("out", "narrow"))
    assert one["wide.weight"].dtype == torch.float32
    assert torch.equal(one["wide.weight"], two["wide.weight"].float())


def test_tied_weights_stay_tied_and_a_copied_head_is_compared_with_the_embedding(make, tmp_path):
    tied, loose = make("tied", tied=True), make("loose", 1)
    merge_pair(tied, make("other", 1, tied=True), tmp_path / "out")
    assert "lm_head.weight" not in weights_of(tmp_path / "out")
    merge_pair(loose, tied, tmp_path / "untied")
    head = weights_of(tmp_path / "untied")["lm_head.weight"]
    wanted = fuse(
        weights_of(loose)["lm_head.weight"], weights_of(tied)["model.embed_tokens.weight"]
    )
    assert np.array_equal(head, wanted.tensor)


def test_rows_without_a_token_are_cropped_and_config_says_so(make, tmp_path):
    base, other = make("base", vocab=72), make("other", 1, vocab=68)
    report = merge_pair(base, other, tmp_path / "out")
    assert weights_of(tmp_path / "out")["lm_head.weight"].shape == (68, 32)
    assert json.loads((tmp_path / "out/config.json").read_text())["vocab_size"] == 68
    assert any("cropped to the 68 rows" in note for note in report.notes)


def test_rows_of_tokens_are_cropped_in_reference_mode_alone(make, tmp_path):
    base, other = make("base"), make("other", 1, vocab=60, tokens=60)
    with pytest.raises(DataError, match=r"lm_head.weight: shapes differ: .* would be cut off"):
        merge_pair(base, other, tmp_path / "out")
    merge_pair(base, other, tmp_path / "out", mode="reference")
    assert weights_of(tmp_path / "out")["lm_head.weight"].shape == (60, 32)


@pytest.mark.slow
def test_the_merged_model_loads_and_speaks(make, tmp_path):
    merge_pair(make("base"), make("other", 1), tmp_path / "out")
    tried = try_out(tmp_path / "out")
    assert (tried.problems, tried.notes) == ((), ())
    assert tried.text


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_told_apart(make, tmp_path):
    out = tmp_path / "out"
    merge_pair(make("base"), make("other", 1), out)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"model_type": "llama9"}))
    assert "cannot be loaded" in try_out(out).problems[0]


def test_rows_that_configuration_or_tokenizer_miscount_are_told(make, tmp_path):
    out = tmp_path / "out"
    merge_pair(make("base"), make("other", 1), out)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"vocab_size": 70}))
    assert try_out(out).problems == ("config.json says vocab_size 70, the embedding has 64 rows",)
    with pytest.raises(StageError, match=r"cannot be used:\n  config.json says"):
        try_out(out).check(out)


def a_longer_norm(weights):
    weights["model.norm.weight"] = np.ones(33, np.float32)


def a_tensor_less(weights):
    del weights["model.layers.0.mlp.up_proj.weight"]


def a_tensor_more(weights):
    weights["model.layers.2.mlp.up_proj.weight"] = np.ones((2, 2), np.float32)


def doubles(weights):
    weights["model.norm.weight"] = np.ones(32, np.float64)


DEFECTS = [
    (a_nan, r"model.layers.1.mlp.up_proj.weight: other holds nan at row 9, column 4"),
    (a_longer_norm, r"model.norm.weight: shapes differ: \[32\] and \[33\]"),
    (a_tensor_less, r"other: has no tensor model.layers.0.mlp.up_proj.weight"),
    (a_tensor_more, r"other: has 1 tensors that .*base lacks, first model.layers.2"),
    (doubles, r"model.norm.weight: weights of type F32, F64"),
]


@pytest.mark.parametrize(("change", "told"), DEFECTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_defect_of_the_weights_is_named_by_a_real_process(make, tmp_path, change, told):
    base, other = make("base"), make("other", 1)
    edited(other, "model.safetensors", change)
    process = merging(base, other, tmp_path / "out")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("DataError")
    with pytest.raises(DataError, match=told):
        merge_pair(base, other, tmp_path / "out2")
    assert "Traceback" not in errors
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_checkpoint_that_is_cut_is_refused(make, tmp_path):
    base, other = make("base"), make("other", 1)
    os.truncate(other / "model.safetensors", 50_000)
    with pytest.raises(DataError, match="the file is cut or damaged"):
        merge_pair(base, other, tmp_path / "out")
    os.truncate(other / "model.safetensors", 5)
    with pytest.raises(DataError, match="is cut or no safetensors file"):
        merge_pair(base, other, tmp_path / "out")
    (other / "model.safetensors").rename(other / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"pytorch_model.bin is of another format"):
        merge_pair(base, other, tmp_path / "out")
    with pytest.raises(DataError, match="no such folder"):
        merge_pair(base, tmp_path / "nowhere", tmp_path / "out")


def test_a_checkpoint_that_is_cut_after_its_header_was_read_is_refused(make):
    looked = Weights.look(make("base"))
    path = looked.root / looked.files[0]
    os.truncate(path, path.stat().st_size - 4096)
    name, place = list(looked.places.items())[-1]
    with looked.opened(), pytest.raises(DataError, match="was cut"):
        looked.view(place, 0, looked.places[name].bytes // 4, "<u4")


def test_weights_that_start_at_an_odd_byte_merge_alike(make, tmp_path):
    base, other = make("base"), make("other", 1)
    merge_pair(base, other, tmp_path / "even")
    for path in (base / "model.safetensors", other / "model.safetensors"):
        whole = path.read_bytes()
        end = 8 + int.from_bytes(whole[:8], "little")
        head = whole[8:end].rstrip() + b" "
        head += b" " * (1 - (8 + len(head)) % 2)
        path.write_bytes(len(head).to_bytes(8, "little") + head + whole[end:])
    merge_pair(base, other, tmp_path / "odd")
    even, odd = (weights_of(tmp_path / name) for name in ("even", "odd"))
    assert all(np.array_equal(even[name], odd[name]) for name in even)


def test_a_shard_that_is_missing_is_named(make, tmp_path):
    base, other = make("base", shards=2), make("other", 1, shards=2)
    (other / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DataError, match=r"model-00002-of-00002.safetensors is missing"):
        merge_pair(base, other, tmp_path / "out")


def test_what_a_merge_would_cost_is_known_before(make, tmp_path):
    base, other = make("base"), make("other", 1)
    flight = preview([base, other], tmp_path / "new/out", ArceeFusion(), dtype=None, threads=2)
    assert flight.problems == ()
    assert flight.bytes_out == sum(value.nbytes for value in weights_of(base).values())
    assert flight.free > flight.bytes_out
    assert 100e6 < flight.peak < 350e6
    assert 0 < flight.seconds < 1
    assert not (tmp_path / "new").exists()


def test_all_problems_of_two_models_are_told_at_once(make, tmp_path):
    base, other = make("base"), make("other", 1)
    config = json.loads((other / "config.json").read_text()) | {"model_type": "qwen2"}
    config["quantization_config"] = {"bits": 4}
    (other / "config.json").write_text(json.dumps(config))
    (base / "tokenizer.json").unlink()
    edited(other, "model.safetensors", a_longer_norm)
    with pytest.raises(DataError) as caught:
        merge_pair(base, other, tmp_path / "out")
    told = str(caught.value)
    for part in ("model_type is qwen2", "quantized", "has no tokenizer", "shapes differ"):
        assert part in told
    assert not (tmp_path / "out").exists()


def test_another_tokenizer_is_refused_and_another_template_noted(make, tmp_path):
    base, other = make("base"), make("other", 1)
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"!": 3', '"?!": 3'))
    with pytest.raises(DataError, match=r"1 ids mean different tokens, first 3: '!' and '\?!'"):
        merge_pair(base, other, tmp_path / "out")
    (other / "tokenizer.json").write_text(text)
    (other / "chat_template.jinja").write_text("another")
    report = merge_pair(base, other, tmp_path / "out")
    assert any("chat templates differ" in note for note in report.notes)


def test_weights_alone_can_be_merged(make, tmp_path):
    base, other = (make(n, s, with_tokenizer=False) for n, s in (("base", 0), ("other", 1)))
    report = merge_pair(base, other, tmp_path / "out")
    assert any("has no tokenizer" in note for note in report.notes)
    assert try_out(tmp_path / "out").notes == ("not asked to generate: it has no tokenizer",)


def test_in_reference_mode_a_nan_does_not_become_a_model(make, tmp_path):
    base, other = make("base"), make("other", 1)
    edited(other, "model.safetensors", a_nan)
    with pytest.raises(DataError, match="1 merged tensors hold weights that are not finite"):
        merge_pair(base, other, tmp_path / "out", mode="reference")
    assert not (tmp_path / "out/model.safetensors").exists()
    with pytest.raises(DataError, match="not finite"):
        Merge(method=Linear()).make([base, other], tmp_path / "linear")


def test_integers_are_copied_where_they_agree(make, tmp_path):
    base, other = make("base"), make("other", 1)
    for root in (base, other):
        edited(root, "model.safetensors", lambda w: w.update(positions=np.arange(5)))
    merge_pair(base, other, tmp_path / "out")
    assert np.array_equal(weights_of(tmp_path / "out")["positions"], np.arange(5))
    edited(other, "model.safetensors", lambda w: w.update(positions=np.arange(5) + 1))
    with pytest.raises(DataError, match="positions: I64 values differ"):
        merge_pair(base, other, tmp_path / "out2")
