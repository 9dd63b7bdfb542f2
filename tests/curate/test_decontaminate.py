"""What repeats a benchmark is dropped and says so; what only sounds like it stays."""

import gzip
import json
import random
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from places import shared_data
from tracecraft.curate import benchmarks, leaks
from tracecraft.curate.benchmarks import PRESETS, freeze
from tracecraft.curate.decontaminate import Decontaminate
from tracecraft.curate.leaks import Index, Item
from tracecraft.curate.minhash import Views
from tracecraft.curate.search import find
from tracecraft.curate.tokens import tables, tokens
from tracecraft.errors import DataError, RecipeError
from tracecraft.stage import Desk, Stage

CASES = pl.read_csv(Path(__file__).with_name("leaks.tsv"), separator="\t", quote_char=None)
ITEM = CASES["text"][0]


def benchmark(*texts: str, name: str = "set") -> pl.LazyFrame:
    return pl.LazyFrame(
        {
            "problem_id": [f"{name}-{i}" for i in range(len(texts))],
            "source": [f"hf:org/{name}@0123abc"] * len(texts),
            "statement": list(texts),
        }
    )


def judged(rows: list[str | None], *items: str, **options) -> pl.DataFrame:
    table = pl.LazyFrame({"statement": pl.Series(rows, dtype=pl.String)})
    return Decontaminate(**options)(table, benchmark(*items)).collect()


def spelt(text: str) -> list[str]:
    found, data = tokens(text), text.encode()
    spans = zip(found.starts, found.ends, strict=True)
    return [data[start:end].decode() for start, end in spans]


@pytest.mark.parametrize("case", CASES.to_dicts(), ids=lambda case: case["what"])
def test_typography_makes_no_difference_and_numbers_do(case):
    row = judged([case["text"]], ITEM).row(0, named=True)
    if case["repeats"] == "yes":
        assert row["dropped"] == "contaminated:set"
        assert row["contaminated_by"] == "set-0"
        assert row["coverage"] >= 0.6
    else:
        assert row["dropped"] is None
        assert row["paraphrase_of"] == ("set:set-0" if case["repeats"] == "paraphrase" else None)


def test_the_span_is_where_the_problem_stands():
    row = judged([f"Ein längerer Vorspann – für Größe. {ITEM} And then?"], ITEM).row(0, named=True)
    span = row["contaminated_span"]
    assert row["statement"][span["start"] : span["end"]] == ITEM.rstrip("$.")


def test_rows_without_text_and_other_columns_pass():
    table = pl.LazyFrame({"reasoning": [None, "", f"So: {ITEM}"], "n": [1, 2, 3]})
    made = Decontaminate(column="reasoning")(table, benchmark(ITEM)).collect()
    assert made["n"].to_list() == [1, 2, 3]
    assert made["dropped"].to_list() == [None, None, "contaminated:set"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"$\frac{1}{2}$ of \(x^2\)", ["1", "2", "of", "x", "2"]),
        ("1,000 and 1{,}000 and 1\\,000", ["1,000", "and", "1{,}000", "and", "1\\,000"]),
        ("(1,000)(1,00)", ["1,000", "1", "00"]),
        (r"\sin 60^\circ \pi", [r"\sin", "60", r"\pi"]),
        ("10² x₁", ["10", "²", "x", "₁"]),
        ("a [asy] draw(0,1); [/asy] b", ["a", "b"]),
        ("中文字 x", ["中", "文", "字", "x"]),
        ("has_close_elements(2x)", ["has", "close", "elements", "2", "x"]),
    ],
)
def test_tokens_are_letters_and_digits(text, words):
    assert spelt(text) == words


@pytest.mark.parametrize(
    ("left", "right"),
    [("π", r"\pi"), ("É", "e"), ("1{,}000", "1000"), ("ﬁne", "fine"), ("𝐀", "a"), ("１２", "12"),
     ("sin", r"\sin"), ("x²", "x^2"), ("½", "1/2"), ("e\u0301", "é"), ("so\u00adft", "soft")],
)  # fmt: skip
def test_tokens_that_are_one(left, right):
    assert tokens(left).hashes.tolist() == tokens(right).hashes.tolist()


ODD = "ab1 2,\\{}![asy]/é²½中\u0301\u200b𝐀𠀀pisn0$ﷺ㌖"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=ODD, max_size=60) | st.text(max_size=30))
def test_kernels_find_the_same_tokens(text):
    from tracecraft.curate import grams

    views = Views.of(pl.Series([text + " "]))
    fast = grams.spell(views.addresses[0], views.sizes[0], tables())
    for one, other in zip(tokens(text + " "), fast, strict=True):
        assert one.tolist() == other.tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30),
    st.integers(1, 4),
)  # fmt: skip
def test_an_alignment_is_the_longest_and_both_ways_find_it(left, right, length):
    from tracecraft.curate import grams

    best = np.zeros((len(left) + 1, len(right) + 1), int)
    for i in range(1, len(left) + 1):
        for j in range(1, len(right) + 1):
            best[i, j] = max(best[i - 1, j], best[i, j - 1])
            run = 0
            while run < min(i, j) and left[i - run - 1] == right[j - run - 1]:
                run += 1
                if run >= length:
                    best[i, j] = max(best[i, j], best[i - run, j - run] + run)
    a, b = np.array(left, np.uint64), np.array(right, np.uint64)
    assert leaks.aligned(a, b, length) == best[-1, -1]
    assert grams.aligned(a, b, length) == best[-1, -1]


def test_kernels_find_the_same_leaks():
    g = random.Random(1)
    items = [Item("b", str(i), " ".join(g.choices("abcdefgh12345", k=40))) for i in range(20)]
    texts = pl.Series([f"so {items[i % 20].text} é {i}" for i in range(40)] + ["", "a b 1"])
    index = Index(items, 8)
    plain = find(index, texts, compiled=False)
    assert plain == find(index, texts, compiled=True)
    assert plain == find(index, texts, compiled=True, workers=3)
    assert all(len(found) >= 1 for found in plain[:40])


def test_a_short_problem_needs_its_signs_and_little_else():
    item = "Compute $3+5-2$."
    rows = ["Please compute 3 + 5 - 2 for me.", "Compute 3-5+2", "compute 3 and 5 and 2"]
    assert judged(rows, item)["dropped"].is_not_null().to_list() == [True, False, False]


def test_a_tiny_problem_is_found_only_alone():
    made = judged(["What is $2+2$?", "Then ask what is 2+2 again"], "What is 2+2?")
    assert made["dropped"].to_list()[0] == "contaminated:set"
    assert judged(["1 + 1", "It is 1 + 1"], "$1+1$")["dropped"].is_not_null().to_list() == [
        True, False,
    ]  # fmt: skip


def test_common_phrases_in_a_long_trace_are_no_leak():
    trace = " ".join(f"Let me find the number of positive integers such that {i} is a" * 3
                     for i in range(40))  # fmt: skip
    item = "Find the number of positive integers $n$ such that $n^2+7n+1$ is a perfect square."
    assert judged([trace], item)["dropped"].null_count() == 1


def test_benchmarks_come_from_files_by_their_usual_names(tmp_path):
    lines = [{"task_id": 7, "prompt": ITEM}, {"task_id": 8, "prompt": "Write another thing now."}]
    file = tmp_path / "mine.v2.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    table = pl.LazyFrame({"statement": [ITEM]})
    made = Decontaminate(against=str(file))(table).collect().row(0, named=True)
    assert (made["dropped"], made["contaminated_by"]) == ("contaminated:mine", "7")


def test_a_frozen_index_names_its_benchmarks_and_where_they_are_from(tmp_path):
    for name, text in (("one", ITEM), ("two", "Prove nothing at all about the zeta function.")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "problem": text}))
    out = tmp_path / "frozen.parquet"
    freeze([str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")], out)
    made = Decontaminate(against=(str(out),))(pl.LazyFrame({"statement": [ITEM]})).collect()
    assert made["dropped"][0] == "contaminated:one"
    told = json.loads(pl.read_parquet_metadata(out)["tracecraft"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", told["date"])
    assert [one["items"] for one in told["benchmarks"].values()] == [1, 1]


def test_a_changed_benchmark_is_another_stage(tmp_path):
    file = tmp_path / "b.jsonl"
    file.write_text(json.dumps({"problem": ITEM}))
    stage = Stage.bind({"use": "decontaminate", "against": [str(file)]})
    before = stage.identity()
    file.write_text(json.dumps({"problem": ITEM + " Explain."}))
    assert stage.identity() != before


class Counting(Decontaminate):
    """Notes every index that is built."""

    def index(self, *tables):
        BUILT.append(1)
        return super().index(*tables)


BUILT = []


def test_the_index_is_built_once():
    table = pl.LazyFrame({"statement": [ITEM]})
    with Counting().open(Desk()) as ask:
        for _ in range(3):
            assert ask(table, benchmark(ITEM)).collect()["dropped"].count() == 1
    assert len(BUILT) == 1


def test_what_cannot_be_read_is_said(tmp_path):
    table = pl.LazyFrame({"statement": [ITEM]})
    with pytest.raises(RecipeError, match="against which benchmark"):
        Decontaminate()(table)
    with pytest.raises(DataError, match="did you mean 'aime25' or 'aime24'"):
        Decontaminate(against="aime26")(table)
    (tmp_path / "b.jsonl").write_text('{"answer": 3}')
    with pytest.raises(DataError, match="no column holds the problem: it has answer"):
        Decontaminate(against=str(tmp_path / "b.jsonl"))(table)


def test_presets_are_pinned():
    assert set(PRESETS) >= {"aime24", "aime25", "math500", "amc23", "gpqa_diamond",
                            "livecodebench", "humaneval", "mbpp"}  # fmt: skip
    assert all(re.fullmatch(r"[0-9a-f]{40}", preset.revision) for preset in PRESETS.values())
    assert benchmarks.identity("aime24") != benchmarks.identity("aime25")


def real_rows(name: str, column: str) -> list[str]:
    path = shared_data(name)
    body = path.read_bytes()
    body = gzip.decompress(body) if path.suffix == ".gz" else body
    lines = json.loads(body) if body.startswith(b"[") else map(json.loads, body.splitlines())
    return [line[column] for line in lines]


AIME24 = [
    ("math_qwen25math_eval/aime24.jsonl", "problem"),
    ("math_nemo_skills/aime24.jsonl", "problem"),
    ("math_limo_eval/aime.jsonl", "problem"),
    ("code_qwq_lcb_v5/aime24.jsonl", "prompt"),
]


@pytest.mark.parametrize("index", AIME24[:3], ids=lambda place: place[0])
@pytest.mark.parametrize("rows", AIME24, ids=lambda place: place[0])
def test_all_thirty_problems_are_found_in_every_typesetting(rows, index):
    made = judged(real_rows(*rows), *real_rows(*index))
    assert made["dropped"].count() == 30
    assert made["contaminated_by"].n_unique() == 30


def letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.mark.slow
def test_a_benchmark_is_found_whole_within_the_set_it_was_drawn_from():
    rows, items = (real_rows(f"math_MATH/{name}.jsonl.gz", "problem")
                   for name in ("MATH_test5000", "MATH500"))  # fmt: skip
    made = judged(rows, *items)
    same = pl.Series([letters(row) for row in rows]).is_in([letters(item) for item in items])
    dropped = made["dropped"].is_not_null()
    assert same.sum() == 500
    assert (same & dropped).sum() == 500
    assert (dropped & ~same).sum() <= 6  # siblings that differ in a word or an operator


@pytest.mark.slow
def test_problems_of_another_kind_are_left_alone():
    rows = real_rows("math_gsm8k/train.jsonl.gz", "question")
    items = [*real_rows(*AIME24[0]), *real_rows("math_MATH/MATH500.jsonl.gz", "problem")]
    assert judged(rows, *items)["dropped"].count() == 0
