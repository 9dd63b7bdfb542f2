import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracecraft.curate.layouts import LAYOUTS
from tracecraft.curate.source import Source
from tracecraft.schema import QUESTION, TRACE

CHAT = [
    {"role": "user", "content": "What is 1+1?"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\n\\boxed{2}"},
]
PUBLISHED = {
    "openr1-math": [
        {
            "problem": "What is 1+1?",
            "solution": "Count.",
            "answer": "2",
            "problem_type": "Algebra",
            "question_type": "math-word-problem",
            "source": "olympiads",
            "uuid": "u-1",
            "is_reasoning_complete": [True, False],
            "generations": ["<think>\nhm\n</think>\n\n\\boxed{2}", "<think>\nhm, hm"],
            "correctness_math_verify": [True, False],
            "correctness_llama": None,
            "finish_reasons": ["stop", "length"],
            "correctness_count": 1,
            "messages": CHAT,
        },
        {
            "problem": "What is 2+2?",
            "solution": "Count on.",
            "answer": "4",
            "problem_type": "Algebra",
            "question_type": "math-word-problem",
            "source": "cn_k12",
            "uuid": None,
            "is_reasoning_complete": [True],
            "generations": ["hm</think>4"],
            "correctness_math_verify": None,
            "correctness_llama": [True],
            "finish_reasons": None,
            "correctness_count": 1,
            "messages": CHAT,
        },
    ],
    "openthoughts": [
        {
            "problem": "Print the sum.",
            "deepseek_reasoning": "hm",
            "deepseek_solution": "```python\nprint(sum(map(int, input().split())))\n```",
            "ground_truth_solution": None,
            "domain": "code",
            "source": "taco",
            "test_cases": json.dumps({"inputs": ["1 2"], "outputs": ["3"]}),
            "starter_code": None,
        },
        {
            "problem": "Why is the sky blue?",
            "deepseek_reasoning": "hm",
            "deepseek_solution": "Scattering.",
            "ground_truth_solution": "Rayleigh",
            "domain": "physics",
            "source": "camelai_physics",
            "test_cases": None,
            "starter_code": None,
        },
    ],
    "s1k": [
        {
            "solution": "2",
            "question": "What is 1+1?",
            "cot_type": "math",
            "source_type": "aime",
            "metadata": "{}",
            "deepseek_thinking_trajectory": "hm",
            "deepseek_attempt": "\\boxed{2}",
            "deepseek_grade": "Yes",
            "deepseek_grade_reason": "same",
        }
    ],
    "bespoke-stratos": [
        {
            "system": "Think first.",
            "conversations": [
                {"from": "user", "value": "What is 1+1?"},
                {
                    "from": "assistant",
                    "value": "<|begin_of_thought|>\n\nhm\n\n<|end_of_thought|>\n\n"
                    "<|begin_of_solution|>\n\n\\boxed{2}\n\n<|end_of_solution|>",
                },
            ],
        }
    ],
    "mixture-of-thoughts": [
        {"messages": CHAT, "num_tokens": 12, "source": "open-r1/OpenR1-Math-220k"},
        {"messages": CHAT, "num_tokens": 12, "source": "open-r1/codeforces-cots"},
    ],
    "codeforces-cots": [
        {
            "id": "1A",
            "title": "Squares",
            "description": "Tile it.",
            "examples": [{"input": "6 6 4", "output": "4"}],
            "prompt": "Solve: tile it.",
            "generation": "<think>\nhm\n</think>\n\n```cpp\nint main(){}\n```",
            "finish_reason": "stop",
            "api_metadata": {"completion_tokens": 99, "prompt_tokens": 7, "total_tokens": 106},
            "contest_start_year": 2010,
            "messages": CHAT,
        }
    ],
    "synthetic-1": [
        {
            "response_id": "r1",
            "problem_id": "vfm_1",
            "task_type": "verifiable_math",
            "source": "numina",
            "prompt": "What is 1+1?",
            "gold_standard_solution": "It is 2.",
            "llm_response": "<think>\nhm\n</think>\n2",
            "verification_info": json.dumps({"ground_truth": "2"}),
            "score": 1.0,
        },
        {
            "response_id": "r2",
            "problem_id": "vfc_1",
            "task_type": "verifiable_code",
            "source": "apps",
            "prompt": "Add.",
            "gold_standard_solution": None,
            "llm_response": "<think>\nhm",
            "verification_info": "{'test_cases': [{'input': '1 2', 'output': '3'}]}",
            "score": 0.0,
        },
    ],
    "am-r1-distilled": [
        {
            "messages": [
                {
                    "role": "user",
                    "content": "What is 1+1?",
                    "info": {"source": "natural", "reference_answer": "2", "test_case": None,
                             "think_content": None, "answer_content": None},
                },
                {
                    "role": "assistant",
                    "content": "<think>hm</think>\n<answer>2</answer>",
                    "info": {"source": "natural", "reference_answer": None, "test_case": None,
                             "think_content": "hm", "answer_content": "2"},
                },
            ]
        }
    ],
}  # fmt: skip
EXPECTED = {  # what the first trace of each is
    "openr1-math": ("math", "What is 1+1?", "2", "hm", "\\boxed{2}", "apache-2.0"),
    "openthoughts": ("code", "Print the sum.", None, "hm",
                     "```python\nprint(sum(map(int, input().split())))\n```", "apache-2.0"),
    "s1k": ("math", "What is 1+1?", None, "hm", "\\boxed{2}", "mit"),
    "bespoke-stratos": ("math", "What is 1+1?", None, "hm", "\\boxed{2}", "apache-2.0"),
    "mixture-of-thoughts": ("math", "What is 1+1?", None, "hm", "\\boxed{2}", None),
    "codeforces-cots": ("code", "Solve: tile it.", None, "hm", "```cpp\nint main(){}\n```",
                        "cc-by-4.0"),
    "synthetic-1": ("math", "What is 1+1?", "2", "hm", "2", "apache-2.0"),
    "am-r1-distilled": ("math", "What is 1+1?", "2", "hm", "2", None),
}  # fmt: skip
DOMAINLESS = {"bespoke-stratos": "math", "am-r1-distilled": "math"}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def put(folder: Path, rows: list[dict], kind: str) -> dict:
    """Rows on disk, and the options that read them there."""
    if kind == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"path": str(folder / "a.jsonl")}
    (folder / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "set/train-00000-of-00001.parquet")
    if kind == "parquet":
        return {"path": str(folder / "set/train-00000-of-00001.parquet")}
    return {"repo": str(folder / "set"), "revision": "e4e141e"}


def read(options: dict, **more) -> pl.DataFrame:
    return pl.concat(Source.bind({"use": "traces", **options, **more}).read())


def test_every_published_layout_has_its_rows_here():
    assert PUBLISHED.keys() == LAYOUTS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "hub"])
@pytest.mark.parametrize("layout", PUBLISHED)
def test_a_published_set_is_read_by_its_name(tmp_path, layout, kind):
    place = put(tmp_path, PUBLISHED[layout], kind)
    table = read(place, layout=layout, domain=DOMAINLESS.get(layout))
    assert {name: table.schema[name] for name in TRACE} == dict(TRACE)
    first = table.row(0, named=True)
    seen = tuple(first[n] for n in ("domain", "statement", "answer", "reasoning", "response",
                                    "license"))  # fmt: skip
    assert seen == EXPECTED[layout]
    assert first["teacher"] == "deepseek-ai/DeepSeek-R1"
    at = f"{place['repo']}@e4e141e" if kind == "hub" else LAYOUTS[layout].repo
    assert first["source"] == f"hf:{at}"
    assert table["trace_id"].is_unique().all()


def test_several_generations_of_a_row_are_samples_with_their_flags(tmp_path):
    table = read(put(tmp_path, PUBLISHED["openr1-math"], "parquet"), layout="openr1-math")
    columns = ["sample_index", "finish", "response", "theirs_correctness_math_verify"]
    assert table.select(columns).rows() == [
        (0, "stop", "\\boxed{2}", True),
        (1, "length", "", False),
        (0, "stop", "4", None),
    ]
    assert table["theirs_correctness_llama"].to_list() == [None, None, True]
    assert table.schema["theirs_correctness_math_verify"] == pl.Boolean
    assert table["theirs_source"].to_list() == ["olympiads", "olympiads", "cn_k12"]


def test_tests_tokens_and_domains_are_found_where_a_set_keeps_them(tmp_path):
    cots = read(put(tmp_path, PUBLISHED["codeforces-cots"], "jsonl"), layout="codeforces-cots")
    assert cots["tests"].to_list() == ['[{"input":"6 6 4","output":"4"}]']
    assert cots.select("prompt_tokens", "completion_tokens").rows() == [(7, 99)]
    one = read(put(tmp_path, PUBLISHED["synthetic-1"], "jsonl"), layout="synthetic-1")
    assert one["domain"].to_list() == ["math", "code"]
    assert json.loads(one["tests"][1]) == [{"input": "1 2", "output": "3"}]
    assert one["finish"].to_list() == ["stop", "length"]
    assert one["theirs_problem_id"].to_list() == ["vfm_1", "vfc_1"]
    thoughts = read(put(tmp_path, PUBLISHED["openthoughts"], "jsonl"), layout="openthoughts")
    assert thoughts["domain"].to_list() == ["code", "science"]


def test_numinamath_is_a_set_of_problems_read_by_its_names(tmp_path):
    row = {
        "problem": "What is 1+1?",
        "solution": "Count.",
        "answer": "2",
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "problem_is_valid": "Yes",
        "solution_is_valid": "Yes",
        "source": "olympiads",
        "synthetic": False,
    }
    place = put(tmp_path, [row], "hub")
    table = pl.concat(Source.bind({"use": "hub", **place, "license": "apache-2.0"}).read())
    assert table.select(*QUESTION).rows() == [
        (f"hf:{place['repo']}@e4e141e", "apache-2.0", "What is 1+1?", "2")
    ]
    assert table["theirs_source"].to_list() == ["olympiads"]
    assert table["problem_is_valid"].to_list() == ["Yes"]
