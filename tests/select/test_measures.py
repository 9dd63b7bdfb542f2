import csv
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import verdicts

from tracecraft.errors import DataError
from tracecraft.schema import VERDICT
from tracecraft.select.measure import Measure
from tracecraft.select.repetition import Loop, novelty, sentence_novelty, tail_loop

HERE = Path(__file__).parent


def measure(name: str, *rows: dict, **options: object) -> list:
    expr = Measure.bind({"use": name, **options}).expr()
    return verdicts(*rows).select(expr.alias("m")).to_series().to_list()


@pytest.mark.parametrize("name", sorted(Measure.known))
def test_a_measure_has_a_value_for_every_row_and_null_is_no_error(name: str) -> None:
    empty = pl.DataFrame([[None]] * len(VERDICT), schema=VERDICT)
    table = pl.concat([empty, verdicts({}, {"response": ""}, {"statement": "é"})])
    expr = Measure.bind({"use": name}).expr().alias("m")
    lazily = table.lazy().select(expr).collect(engine="streaming")
    assert lazily.height == 4
    assert lazily.schema["m"] == table.lazy().select(expr).collect_schema()["m"]
    assert pl.DataFrame(schema=VERDICT).select(expr).height == 0


with (HERE / "statements.tsv").open(encoding="utf-8") as lines:
    STATEMENTS = [tuple(row) for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]


@pytest.mark.parametrize(("name", "value", "statement"), STATEMENTS[1:])
def test_a_statement_is_measured_as_the_table_says(name: str, value: str, statement: str) -> None:
    told = measure(name, {"statement": statement.replace(r"\n", "\n")})
    assert told == [value == "true"]


@pytest.mark.parametrize(
    ("statement", "answer", "shown"),
    [
        ("What is 6*7? Answer: 42", "42", "stated"),
        ("Name it. (The correct answer is nitrogen.)", "nitrogen", "stated"),
        (r"Compute. Solution: $\boxed{42}$", "42", "stated"),
        ("Find the exact answer: 145 + 281", "1", None),
        ("Is it the answer: 42.5?", "42", None),
        ("Is the series convergent or divergent?", "divergent", "mentioned"),
        ("A train has 42 cars.", "42", None),
        ("A train has 42 cars.", None, None),
        ("Answer: ", "", None),
    ],
)
def test_an_answer_in_the_statement_is_seen(
    statement: str, answer: str | None, shown: str | None
) -> None:
    assert measure("answer_shown", {"statement": statement, "answer": answer}) == [shown]


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ({}, None),
        ({"reasoning": ""}, None),
        ({"reasoning": None, "finish": None}, None),
        ({"finish": "length"}, "length"),
        ({"response": ""}, "thought"),
        ({"response": " \n"}, "thought"),
        ({"response": None}, "thought"),
        ({"reasoning": "", "response": ""}, None),
        ({"reasoning": "", "response": "<think>\nI begin"}, "thought"),
        ({"response": "```python\nprint(3)"}, "fence"),
        ({"response": "```python\nprint(3)\n```"}, None),
        ({"response": "It is 3.\n```\n"}, None),
        ({"response": r"So \boxed{\frac{1}{2"}, "box"),
        ({"response": r"So \boxed{\{1, 2\}}"}, None),
        ({"response": r"So \boxed{ and \boxed{3}"}, None),
    ],
)
def test_where_a_trace_breaks_off(row: dict, where: str | None) -> None:
    assert measure("cut_off", row) == [where]


def test_boxes_are_counted_by_content_and_placed() -> None:
    rows = [
        {"response": r"\boxed{3} and $\boxed{ 3 }$"},
        {"response": r"\boxed{3} or \fbox{\frac{1}{2}}, so it is"},
        {"response": "3"},
        {"response": r"\boxed{3"},
    ]
    assert measure("boxed_count", *rows) == [2, 2, 0, 1]
    assert measure("boxed_values", *rows) == [1, 2, 0, 0]
    first, second, none, unclosed = measure("boxed_at", *rows)
    assert 0.9 < first < 1
    assert 0.6 < second < 0.8
    assert (none, unclosed) == (None, None)


def test_tags_turns_refusals_hints_and_hesitation_are_counted() -> None:
    assert measure("think_tags", {"reasoning": "a </think> b <think>"}, {}) == [2, 0]
    assert measure("turns", {"response": "3<|im_end|>\nHuman: more"}, {}) == [2, 0]
    assert measure("turns", {"response": "The user: 3. A human: 4."}) == [0]
    sorry = [
        "I'm sorry, but no.",
        "As an AI language model",
        "The sorry state of x",
        "I can't help",
    ]
    told = measure("refusal", *({"response": text} for text in sorry))
    assert told == [True, True, False, True]
    assert measure("hints", {"reasoning": "The answer key says 3. Reference answer: 3."}) == [2]
    assert measure("hints", {"reasoning": "The given answer choices are few."}) == [0]
    assert measure("hesitation", {"reasoning": "Wait, hmm " * 10}, {"reasoning": ""}) == [200, None]


@pytest.mark.parametrize(
    ("statement", "reasoning", "low", "high"),
    [
        ("What is 1+2?", "I add α and β: 3 °C.", 0, 0),
        ("What is 1+2?", "I add, 所以答案是三。", 0.4, 0.8),
        ("What is 1+2?", "I add. Складываем.", 0.3, 0.8),
        ("一加二等于几？", "所以答案是三。", 0, 0),
        ("What is 1+2?", "```\nprint('所以答案是三')\n```", 0, 0),
        ("What is 1+2?", "", 0, 0),
        ("What is 1+2?", "Le théorème de Fermat, naïvement, où ça.", 0, 0),
    ],
)
def test_letters_of_another_script_are_weighed(
    statement: str, reasoning: str, low: float, high: float
) -> None:
    row = {"statement": statement, "reasoning": reasoning, "response": ""}
    (share,) = measure("foreign_letters", row)
    assert low <= share <= high


def healthy(seed: int, words: int = 1500) -> str:
    """Prose in which hardly a sentence repeats."""
    rng = random.Random(seed)
    stock = [
        "so",
        "then",
        "we",
        "add",
        "take",
        "the",
        "sum",
        "of",
        "root",
        "case",
        "next",
        "x",
        "y",
    ]
    said = [f"{rng.choice(stock)}{rng.randrange(40)}" for _ in range(words)]
    return " ".join(w + ("." if i % 12 == 11 else "") for i, w in enumerate(said))


STOCK = (
    "Alternatively, maybe I should think about this differently.",
    "Wait, let me check that again.",
    "Perhaps I made a mistake somewhere.",
    "But wait, the problem says something else.",
    "No, that cannot be right either.",
)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (" So it is 90, which confirms it." * 30, "tail"),
        ("\n\n" + (healthy(1, 200) + "\n\n") * 4, "tail"),
        ("0" * 500, "tail"),
        ("或者，我们再检查一遍这个条件。" * 40, "tail"),
        (" " + " ".join(random.Random(3).choices(STOCK, k=120)), "sentences"),
        (
            " " + " ".join(f"On day {k} she walks {k + 3} and then {k + 9}." for k in range(60)),
            "stale_masked",
        ),
        ("", None),
    ],
)
def test_a_loop_is_named_by_its_kind_in_either_part(end: str, kind: str | None) -> None:
    looped = {"reasoning": healthy(0) + end}, {"response": healthy(2) + end}
    assert measure("loop", *looped) == [kind, kind]


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_goes_on_is_no_loop_wherever_it_stops(seed: int) -> None:
    text = healthy(seed, 3000)
    for end in range(0, len(text), 997):
        assert Loop().kind_of(text[:end].encode()) is None


@given(st.text(max_size=400), st.text(min_size=1, max_size=80), st.integers(2, 40))
def test_a_repeated_unit_is_covered_whole(head: str, unit: str, times: int) -> None:
    text = (head + unit * times).encode()
    run = len(unit.encode()) * times - len(unit.encode()) - 4
    if text.rstrip() == text and len(unit.encode()) * (times - 1) >= 64:
        assert tail_loop(text) >= run or run < 64


@given(st.text(alphabet="ab 12.\n", max_size=4000))
def test_numbers_as_one_word_make_nothing_newer(text: str) -> None:
    raw = novelty(text.encode(), 3, 500, masked=False)
    masked = novelty(text.encode(), 3, 500, masked=True)
    if raw is not None and masked is not None:
        assert 0 <= masked <= raw <= 1
    said = sentence_novelty(text.encode(), 1000)
    assert said is None or 0 <= said <= 1


def test_time_grows_with_the_text_and_no_faster() -> None:
    from time import process_time

    def cost(text: bytes) -> float:
        begun = process_time()
        for _ in range(3):
            Loop().kind_of(text)
        return process_time() - begun

    short, long = healthy(0, 20_000).encode(), healthy(0, 160_000).encode()
    cost(short)
    assert cost(long) < 30 * cost(short)  # eight times the text; quadratic would be 64
    for unit in (b"a", b"ab " * 7, b"x" * 6000):
        assert cost(unit * (2_000_000 // len(unit))) < 5


def test_tokens_are_the_teachers_or_those_of_a_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"I": 0, "[UNK]": 1}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    rows = {"reasoning": "I add", "response": "3 !"}, {"reasoning": None, "response": "3"}
    assert measure("tokens", *rows) == [10, 10]
    assert measure("tokens", *rows, tokenizer=str(tmp_path)) == [4, 1]
    one = Measure.bind({"use": "tokens", "tokenizer": str(tmp_path)}).identity()
    same = Measure.bind({"use": "tokens", "tokenizer": str(tmp_path / "tokenizer.json")})
    assert same.identity() == one
    with pytest.raises(DataError, match="no such tokenizer"):
        Measure.bind({"use": "tokens", "tokenizer": str(tmp_path / "no")}).expr()
