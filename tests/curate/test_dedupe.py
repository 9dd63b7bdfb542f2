"""One of what is nearly the same is kept; who, why and how near is a fact."""

import random

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.curate import bands, cluster, corpus, dedupe, minhash
from tracecraft.curate.dedupe import Dedupe
from tracecraft.curate.minhash import Scheme
from tracecraft.curate.published import Published, publish
from tracecraft.errors import BrokenContract, DataError, RecipeError
from tracecraft.stage import Desk, Stage

WORDS = [f"word{i}" for i in range(500)]


def text(seed: int, size: int = 60) -> list[str]:
    return random.Random(seed).choices(WORDS, k=size)


def edited(words: list[str], *places: int) -> list[str]:
    return [f"other{i}" if i in places else word for i, word in enumerate(words)]


def table(*lines, **columns) -> pl.DataFrame:
    spelt = [" ".join(line) if isinstance(line, list) else line for line in lines]
    return pl.DataFrame({"statement": pl.Series(spelt, dtype=pl.String), **columns})


def jaccard(left: str, right: str, n: int = 5) -> float:
    def grams(line: str) -> set[tuple[str, ...]]:
        words = line.lower().split()
        n_ = min(n, len(words))
        return {tuple(words[i : i + n_]) for i in range(len(words) - n_ + 1) if words}

    a, b = grams(left), grams(right)
    return len(a & b) / len(a | b)


def marks(frame: pl.DataFrame, **options) -> pl.DataFrame:
    return Dedupe(**options).mark(frame.lazy())


def kept(frame: pl.DataFrame, **options) -> set[str]:
    made = Dedupe(**options)(frame.lazy()).filter(pl.col("dropped").is_null()).collect()
    return set(made["statement"].drop_nulls())


def test_a_copy_is_dropped_and_names_whom_it_copies():
    base = text(1)
    made = marks(table(base, text(2), edited(base, 59), id=["a", "b", "c"]), keep="first")
    assert made["dropped"].to_list() == [None, None, "duplicate"]
    assert made["duplicate_of"].to_list() == [None, None, "a"]
    assert made["similarity"][2] == pytest.approx(55 / 57)


def test_without_an_id_the_number_of_the_row_names_it():
    made = marks(table(text(2), text(1), text(1)), keep="first")
    assert made["duplicate_of"].to_list() == [None, None, "row 2"]
    assert made["similarity"][2] == 1.0


def test_case_spacing_and_invisible_characters_make_no_difference():
    frame = table("What is  the sum of Two\u200b and three? ", "what is the sum of two and three?")
    assert marks(frame)["dropped"].null_count() == 1
    assert marks(frame, fold=False)["dropped"].null_count() == 2


def test_composed_and_decomposed_letters_are_one():
    assert marks(table("é a b", "e\u0301 a b"))["dropped"].null_count() == 1


@pytest.mark.parametrize("sign", ["+", "-"])
def test_a_sign_makes_another_problem(sign):
    assert marks(table("Solve x + 2 = 5", f"Solve x {sign} 3 = 5"))["dropped"].null_count() == 2


def test_a_row_without_words_is_nobodys_duplicate():
    assert marks(table("", None, "  ", ""))["dropped"].null_count() == 4


def test_a_row_shorter_than_a_shingle_needs_the_same_words():
    made = marks(table("a b c", "a b c", "a b d", "a b"))
    assert made["dropped"].null_count() == 3


def test_numbers_are_words():
    line = "Tom has {} apples and gives {} of them away . How many are left ?"
    assert marks(table(line.format(5, 2), line.format(7, 3)))["dropped"].null_count() == 2


@pytest.mark.parametrize(
    ("keep", "survivor"),
    [
        ("longest", 2),
        ("shortest", 1),
        ("first", 0),
        ("verified", 3),
        (["verified", "shortest"], 3),
        ("-difficulty", 1),
        (["source = 'good'", "longest"], 3),
    ],
)
def test_the_survivor_is_whom_the_policy_prefers(keep, survivor):
    base = text(5, 80)
    frame = table(
        base, base[:-2], [*base, "and", "more"], [*base, "more"],
        outcome=["incorrect", None, "failed", "correct"],
        difficulty=[0.5, 0.1, 0.9, 0.7],
        source=["bad", "bad", "bad", "good"],
    )  # fmt: skip
    made = marks(frame, keep=keep)
    assert np.flatnonzero(made["dropped"].is_null()).tolist() == [survivor]
    assert set(made["duplicate_of"].drop_nulls()) == {f"row {survivor + 1}"}


def test_within_compares_only_what_belongs_together():
    base = text(1)
    frame = table(base, base, base, problem=["p", "q", "p"])
    assert marks(frame, within="problem", keep="first")["duplicate_of"].to_list() == [
        None, None, "row 1",
    ]  # fmt: skip


def test_several_columns_are_compared_together():
    frame = table("one", "one", response=[" ".join(text(1)), " ".join(text(2))])
    assert marks(frame)["dropped"].null_count() == 1
    assert marks(frame, column=["statement", "response"])["dropped"].null_count() == 2


def chain() -> pl.DataFrame:
    """Each reaches 0.8 with the next, the first and the last do not."""
    first = text(9, 100)
    second = edited(first, 0, 20)
    return table(first, second, edited(second, 40, 60), id=["a", "b", "c"])


def test_a_chain_is_one_cluster_and_says_who_ties_it():
    frame = chain()
    made = marks(frame, keep="first")
    assert made["duplicate_of"].to_list() == [None, "a", "a"]
    assert made["duplicate_via"].to_list() == [None, None, "b"]
    assert made["similarity"][2] == pytest.approx(jaccard(frame[0, 0], frame[2, 0]))
    assert made["similarity"][2] < 0.8 <= made["similarity"][1]


def test_a_cut_chain_drops_only_what_reaches_the_threshold_with_its_survivor():
    made = marks(chain(), keep="first", chains="cut")
    assert made["duplicate_of"].to_list() == [None, "a", None]
    assert made["duplicate_via"].null_count() == 3


def families(count: int, seed: int, size: int = 60) -> list[str]:
    g = random.Random(seed)
    lines = []
    for _ in range(count):
        base = g.choices(WORDS, k=g.randrange(4, size))
        lines.append(" ".join(base))
        for _ in range(g.choice((0, 0, 1, 3))):
            lines.append(" ".join(edited(base, *g.sample(range(len(base)), g.randrange(3)))))
    g.shuffle(lines)
    return lines


@pytest.mark.parametrize("chains", ["join", "cut"])
def test_marks_are_facts(chains):
    frame = table(*families(150, 1))
    made = pl.concat([frame, marks(frame, chains=chains, ngram=3)], how="horizontal")
    lines = frame["statement"].to_list()
    assert made["dropped"].count() > 20
    for row in made.drop_nulls("dropped").iter_rows(named=True):
        survivor = int(row["duplicate_of"].removeprefix("row ")) - 1
        assert made["dropped"][survivor] is None
        assert row["similarity"] == pytest.approx(jaccard(row["statement"], lines[survivor], 3))
        tie = row["duplicate_via"] or row["duplicate_of"]
        other = lines[int(tie.removeprefix("row ")) - 1]
        assert jaccard(row["statement"], other, 3) >= 0.8
    alive = made.filter(pl.col("dropped").is_null())["statement"].to_list()
    assert all(jaccard(a, b, 3) < 0.8 for i, a in enumerate(alive) for b in alive[:i])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["join", "cut"]))
def test_the_order_of_rows_makes_no_difference(seed, chains):
    lines = families(25, seed, 30)
    random.Random(seed).shuffle(shuffled := list(lines))
    options = {"chains": chains, "ngram": 2, "threshold": 0.6}
    assert kept(table(*lines), **options) == kept(table(*shuffled), **options)


def test_rows_equal_in_all_that_is_compared_survive_by_what_else_they_hold():
    frame = table("same words", "same words", "same words", answer=["b", "c", "a"])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        made = Dedupe()(frame[order].lazy()).filter(pl.col("dropped").is_null()).collect()
        assert made["answer"].to_list() == ["a"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_second_run_drops_nothing(seed):
    once = kept(table(*families(30, seed)))
    assert kept(table(*sorted(once))) == once


def test_batches_threads_and_kernels_make_no_difference(monkeypatch):
    frame = table(*families(300, 3), "Größe und\u2003Maß der Dinge sind verschieden hier")
    plain = marks(frame)
    monkeypatch.setattr(minhash, "COMPILE_BYTES", 0)
    monkeypatch.setattr(dedupe, "COMPILE_BYTES", 0)
    monkeypatch.setattr(cluster, "COMPILE_BYTES", 0)
    monkeypatch.setattr(minhash, "TASK_BYTES", 5_000)
    assert marks(frame, workers=3).equals(plain)
    monkeypatch.setattr(corpus, "BATCH_BYTES", 1)
    monkeypatch.setattr(corpus, "LEAST_ROWS", 37)
    assert marks(frame, workers=2).equals(plain)
    assert marks(frame, hash="sha1").equals(plain)
    monkeypatch.setattr(corpus, "HELD_BYTES", 2_000)
    assert marks(frame).equals(plain)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 0.88])
def test_a_preamble_shared_by_all_hides_no_pair(share):
    g = random.Random(2)
    preamble = g.choices(WORDS, k=int(200 * share))
    lines, pairs = [], []
    for i in range(400):
        body = [f"b{g.randrange(9**7)}" for _ in range(200 - len(preamble))]
        lines.append(preamble + body)
        if i % 10 == 0:
            pairs.append((len(lines) - 1, len(lines)))
            lines.append(preamble + edited(body, g.randrange(len(body))))
    dropped = marks(table(*lines))["dropped"].is_not_null()
    assert all(dropped[a] != dropped[b] for a, b in pairs)
    assert dropped.sum() == len(pairs)


def test_one_large_cluster_is_one_cluster():
    base = text(1, 100)
    lines = [edited(base, i % 100) if i % 3 else [*base, f"end{i}"] for i in range(300)]
    assert marks(table(*lines))["dropped"].null_count() == 1


def test_what_was_published_is_not_published_again(tmp_path):
    old = table(text(1), text(2), id=["old-1", "old-2"])
    publish(old.lazy(), tmp_path / "index.arrow", Scheme(fold=True), ["statement"], "id", 1)
    new = table(edited(text(2), 59), text(3), text(2), "", id=["a", "b", "c", "d"])
    made = marks(new, published=tmp_path / "index.arrow")
    assert made["duplicate_of"].to_list() == ["old-2", None, "old-2", None]
    assert made["similarity"][0] == pytest.approx(55 / 57)
    assert made["similarity"][2] == 1.0
    grouped = new.with_columns(problem=pl.Series(["p", "p", "q", "q"]))
    again = marks(grouped, published=tmp_path / "index.arrow", within="problem")
    assert again["duplicate_of"].to_list() == made["duplicate_of"].to_list()
    with pytest.raises(RecipeError, match="was made with"):
        marks(new, published=tmp_path / "index.arrow", ngram=4)


def test_datasketch_reads_what_was_published(tmp_path):
    path, lines = tmp_path / "index.arrow", [" ".join(text(i)) for i in range(5)]
    frame = table(*lines, id=[f"p{i}" for i in range(5)])
    publish(frame.lazy(), path, Scheme(hash="sha1"), ["statement"], "id", 1)
    theirs = MinHashLSH(threshold=0.8, num_perm=128)
    for name, one in Published(path).minhashes():
        theirs.insert(name, one)
    words = lines[3].split()
    asked = MinHash(128)
    asked.update_batch(" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4))
    assert theirs.query(asked) == ["p3"]


def test_a_file_that_is_no_index_is_refused(tmp_path):
    (tmp_path / "x.arrow").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is no index"):
        marks(table("a"), published=tmp_path / "x.arrow")


def test_no_rows_are_no_rows():
    assert marks(table()).height == 0


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(BrokenContract, match="did you mean 'statement'"):
        marks(table("a"), column="statment")
    with pytest.raises(BrokenContract, match="outcome"):
        marks(table("a"), keep="verified")


def test_a_policy_that_is_no_sql_is_refused():
    with pytest.raises(RecipeError, match=r"dedupe\.keep: 'len\(\('"):
        marks(table("a"), keep="len((")


def test_a_recipe_says_it_in_words():
    stage = Stage.bind({"use": "dedupe", "column": ["statement"], "keep": ["verified", "shortest"]})
    assert stage.identity()["keep"] == ["verified", "shortest"]
    assert "workers" not in stage.identity()


def test_band_keys_on_disk_make_no_difference(monkeypatch, tmp_path):
    frame = table(*families(300, 4), *[" ".join([*text(9, 90), f"e{i}"]) for i in range(80)])
    monkeypatch.setattr(corpus, "BATCH_BYTES", 1)
    monkeypatch.setattr(corpus, "LEAST_ROWS", 50)
    old = frame.head(20).with_columns(id=pl.Series([f"old-{i}" for i in range(20)]))
    publish(old.lazy(), tmp_path / "index.arrow", Scheme(fold=True), ["statement"], "id", 1)
    options = ({}, {"chains": "cut", "ngram": 2}, {"published": tmp_path / "index.arrow"})
    plain = [marks(frame, **one) for one in options]
    monkeypatch.setattr(bands, "KEYS_BYTES", 100_000)
    for one, before in zip(options, plain, strict=True):
        stage = Dedupe(**one)
        with stage.open(Desk(scratch=tmp_path / "scratch")):
            assert stage.mark(frame.lazy()).equals(before)
    assert (tmp_path / "scratch").exists()
    assert not list((tmp_path / "scratch").iterdir())
