import json
from pathlib import Path

from rows import verdicts

from tracecraft.select.rules import Filter

RULES = """
name: small
rules:
  - {drop: wrong, when: outcome = 'incorrect', why: a student must not imitate it}
  - {drop: long, when: completion_tokens > 100, why: it is}
  - {drop: never, when: completion_tokens > 1000000, why: it is}
"""


def test_what_if_counts_what_each_rule_would_do_and_drops_nothing(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(RULES)
    rows = verdicts(
        {},
        {"outcome": "incorrect", "completion_tokens": 500, "response": "x" * 5000},
        {"completion_tokens": 500},
        {"completion_tokens": 200},
        {"completion_tokens": None},
    )
    stage = Filter(rules=tmp_path / "f.yaml")
    report = stage.what_if(rows.lazy(), examples=1)
    assert (report.rows, report.kept) == (5, 2)
    wrong, long, never = report.rules
    assert (wrong.dropped, wrong.matched, wrong.alone, wrong.unknown) == (1, 1, 0, 0)
    assert (long.dropped, long.matched, long.alone, long.unknown) == (2, 3, 2, 1)
    assert (never.dropped, never.matched, never.unknown) == (0, 0, 1)
    assert (report.right, wrong.right, long.right, never.right) == (0.8, 0.0, 2 / 3, None)
    assert long.examples["trace_id"].to_list() == ["t2"]
    assert never.examples.height == 0
    dropped = stage(rows.lazy()).collect()["dropped"].value_counts()
    assert dict(dropped.iter_rows()) == {None: 2, "wrong": 1, "long": 2}


def test_what_if_reads_as_a_table_and_as_json(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(RULES)
    rows = verdicts({"outcome": "incorrect", "response": "word " * 500})
    report = Filter(rules=tmp_path / "f.yaml").what_if(rows.lazy())
    text = str(report)
    assert "1 rows: 0 would stay, 1 would go" in text
    assert "outcome='incorrect'" in text
    assert len(max(text.splitlines(), key=len)) < 250
    told = json.loads(json.dumps(report.as_dict()))
    assert told["rules"][0]["drop"] == "wrong"
    assert told["rules"][0]["examples"][0]["trace_id"] == "t0"


def test_what_if_of_an_empty_table_is_an_empty_report(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text(RULES)
    report = Filter(rules=tmp_path / "f.yaml").what_if(verdicts({}).clear().lazy())
    assert (report.rows, report.kept) == (0, 0)
