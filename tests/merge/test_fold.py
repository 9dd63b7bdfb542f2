"""Plans of several merges: their order, their names, their search; mergekit's own files."""

from pathlib import Path

import numpy as np
import pytest
from pico import Make, contents, maker, weights_of

from tracecraft.errors import RecipeError
from tracecraft.merge import (
    MergePlan,
    carry_out,
    fuse,
    merge_pair,
    orders,
    read_mergekit,
    search,
)
from tracecraft.merge.fold import Merge
from tracecraft.stage import Desk

TINYR1 = [
    {"name": "mid", "method": "arcee_fusion", "into": "science", "other": "math"},
    {"name": "student", "method": "arcee_fusion", "into": "code", "other": "mid"},
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


@pytest.fixture
def branches(make) -> dict[str, Path]:
    return {name: make(name, seed) for seed, name in enumerate(("math", "science", "code"), 1)}


def test_a_plan_is_carried_out_in_its_order(branches, tmp_path):
    plan = MergePlan.bind(TINYR1)
    assert plan.sources == ("science", "math", "code")
    assert plan.formula == "code <- (science <- math)"
    reports = carry_out(plan, branches, tmp_path / "out")
    assert list(reports) == ["mid", "student"]
    math, science, code, student = (
        weights_of(root)["lm_head.weight"]
        for root in (*branches.values(), tmp_path / "out/student")
    )
    mid = fuse(science, math).tensor
    assert np.array_equal(student, fuse(code, mid).tensor)


def test_a_plan_says_what_is_wrong_with_it():
    def bound(*steps):
        return MergePlan.bind([dict(zip(("name", "into", "other"), s, strict=True)) for s in steps])

    with pytest.raises(RecipeError, match=r"merge.*lists no merges"):
        MergePlan.bind([])
    with pytest.raises(RecipeError, match="two merges are named 'a'"):
        bound(("a", "x", "y"), ("a", "y", "x"))
    with pytest.raises(RecipeError, match="'b' is only made later"):
        bound(("a", "b", "y"), ("b", "y", "x"))
    with pytest.raises(RecipeError, match=r"merge.0.*MergeStep has no 'methd'; did you mean"):
        MergePlan.bind([{**TINYR1[0], "methd": "ties"}])
    with pytest.raises(RecipeError, match=r"merge.0.*unknown merge method 'tise'"):
        MergePlan.bind([{**TINYR1[0], "method": "tise"}])
    with pytest.raises(RecipeError, match=r"Ties has no 'mode'"):
        MergePlan.bind([{**TINYR1[0], "method": "ties", "mode": "exact"}])
    with pytest.raises(RecipeError, match=r"merge.0.dtype.*int8"):
        MergePlan.bind([{**TINYR1[0], "dtype": "int8"}])


def test_a_source_without_a_folder_is_named(tmp_path):
    with pytest.raises(RecipeError, match="no model is named 'science'; did you mean 'scince'"):
        carry_out(MergePlan.bind(TINYR1), {"scince": tmp_path}, tmp_path / "out")


def test_the_order_and_every_option_is_in_the_identity():
    one = Merge()
    assert one.identity() == Merge(threads=7).identity()
    others = [{"dtype": "bfloat16"}, {"seed": 1}, {"method": {"use": "linear"}}]
    others += [{"method": {"use": "arcee_fusion", "mode": "reference"}}]
    for options in others:
        assert Merge.bind(options).identity() != one.identity()


def test_the_job_merges_what_other_steps_made(branches, tmp_path):
    home = tmp_path / "step"
    (home).mkdir()
    branches["math"].rename(home / "output")
    into, told = tmp_path / "job", []
    into.mkdir()
    Merge()((home, branches["code"]), into, Desk(report=told.append))
    merge_pair(home / "output", branches["code"], tmp_path / "pair")
    assert weights_of(into).keys() == weights_of(tmp_path / "pair").keys()
    assert (into / "model.safetensors").read_bytes() == (
        tmp_path / "pair/model.safetensors"
    ).read_bytes()
    assert told[-1].facts["share"] > 0
    assert told[-1].facts["said"]


@pytest.mark.parametrize(("models", "number"), [("ab", 2), ("abc", 12), ("abcd", 120)])
def test_all_orders_are_there_once(models, number):
    plans = list(orders(list(models), dtype="bfloat16"))
    assert len(plans) == number
    assert len({plan.formula for plan in plans}) == number
    assert all(plan.steps[-1].dtype == "bfloat16" for plan in plans)


def test_a_search_scores_every_order_once_and_keeps_it(branches, tmp_path):
    asked = []

    def score(root: Path) -> float:
        asked.append(root)
        return float(np.abs(weights_of(root)["lm_head.weight"]).sum())

    plans = list(orders(list(branches)))
    found = search(plans[:5], branches, tmp_path / "out", score)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len(asked) == 5
    again = search(plans, branches, tmp_path / "out", score)
    assert len(asked) == len(again) == 12
    first = found[0]
    direct = carry_out(first.plan, branches, tmp_path / "direct")
    student = tmp_path / "direct" / list(direct)[-1]
    assert weights_of(student).keys() == weights_of(first.student).keys()
    same = "model.safetensors"
    assert (student / same).read_bytes() == (first.student / same).read_bytes()


def a_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "merge.yml"
    path.write_text(text)
    return path


FUSION = """
merge_method: arcee_fusion
base_model: {base}
models:
  - model: {other}
dtype: bfloat16
"""


def test_a_mergekit_file_is_carried_out_as_it_is(branches, tmp_path):
    base, other = branches["code"], branches["math"]
    foreign = read_mergekit(a_file(tmp_path, FUSION.format(base=base, other=other)))
    assert foreign.models == (base, other)
    foreign.merge.make(foreign.models, tmp_path / "out")
    merge_pair(base, other, tmp_path / "pair", dtype="bfloat16")
    assert contents(tmp_path / "out") == contents(tmp_path / "pair")


def test_the_arithmetic_of_a_mergekit_file_is_that_of_its_dtype(tmp_path):
    path = a_file(tmp_path, FUSION.format(base="a", other="b"))
    merge = read_mergekit(path, mode="reference").merge
    assert (merge.method.compute, merge.dtype) == ("bfloat16", "float32")
    path.write_text(path.read_text() + "out_dtype: float16\n")
    assert read_mergekit(path, mode="reference").merge.dtype == "float16"
    assert read_mergekit(path).merge.dtype == "float16"


def test_parameters_of_models_and_of_all_come_together(tmp_path):
    foreign = read_mergekit(
        a_file(
            tmp_path,
            """
merge_method: ties
base_model: base
models:
  - model: base
  - model: a
    parameters: {weight: 0.5, density: 0.2}
  - {model: b, parameters: {weight: [0.3]}}
parameters: {density: 0.6, normalize: false, lambda: 0.9, int8_mask: true}
tokenizer_source: base
dtype: float16
""",
        )
    )
    method = foreign.merge.method
    assert foreign.models == (Path("base"), Path("a"), Path("b"))
    assert (method.weight, method.density) == ((0.5, 0.3), (0.2, 0.6))
    assert (method.normalize, method.scale, foreign.merge.dtype) == (False, 0.9, "float16")


def test_one_slice_of_all_layers_is_a_merge_of_models(branches, tmp_path):
    text = """
merge_method: slerp
base_model: {base}
slices:
  - sources:
      - {{model: {base}, layer_range: [0, LAST]}}
      - {{model: {other}, layer_range: [0, LAST]}}
parameters: {{t: 0.25}}
""".format(base=branches["code"], other=branches["math"])
    foreign = read_mergekit(a_file(tmp_path, text.replace("LAST", "2")))
    assert foreign.merge.method.t == 0.25
    assert foreign.models == (branches["code"], branches["math"])
    with pytest.raises(RecipeError, match="layers 0 to 1 are not all 2"):
        read_mergekit(a_file(tmp_path, text.replace("LAST", "1")))


REFUSED = [
    ("models: []", "names no merge_method"),
    ("merge_method: della\nmodels: [{model: a}]", "'della' is none of ours"),
    ("merge_method: ties\nmodels: [{model: a}]", "ties needs a base_model"),
    ("merge_method: linear\nmodels: [{model: a}]\nbase_model: b", "linear would ignore it"),
    ("merge_method: linear\nmodels: [a]", "names no models"),
    ("merge_method: linear\nmodels: [{model: a, lora: b}]", "is not supported"),
    ("merge_method: linear\nmodels: [{model: a}]\nallow_crimes: true", "allow_crimes"),
    (
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\nparameters: {t: [0, 1]}",
        "t: values that differ by layer",
    ),
    (
        "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\ntokenizer_source: union",
        "has the tokenizer of a",
    ),
    (
        "merge_method: linear\nmodels: [{model: a, parameters: {weight: 1}}, {model: b}]",
        "b has no weight, though others have",
    ),
    (
        "merge_method: passthrough\nslices:\n- sources: [{model: a, layer_range: [0, 2]}]\n"
        "- sources: [{model: b, layer_range: [1, 2]}]",
        "are not stacked here",
    ),
    (
        "merge_method: ties\nbase_model: a\nmodels: [{model: b}]\nparameters: {desnity: 1}",
        "density",
    ),
    ("merge_method: linear\nmodels: [{model: a}]\ndtype: int4", "dtype"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_ours_cannot_do_is_said(text, told, tmp_path):
    path = a_file(tmp_path, text)
    with pytest.raises(RecipeError, match=told) as caught:
        read_mergekit(path)
    assert str(caught.value).startswith(str(path))
