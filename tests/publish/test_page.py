"""The report as text: what is in it, what never is, and what it costs."""

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearsal import HOSTILE, LEAK, PWN, rehearse, workshop

import tracecraft as tc
from tracecraft.cli.report import write_report
from tracecraft.publish.page import About, island, page
from tracecraft.publish.page_charts import Histogram
from tracecraft.publish.page_facts import Facts, gather
from tracecraft.publish.page_html import Html, joined, tag
from tracecraft.publish.page_maps import agreeing
from tracecraft.publish.page_pairs import clusters, contaminations, marked_difference, marked_span
from tracecraft.publish.page_sections import sections
from tracecraft.publish.page_traces import CHARACTERS, sample
from tracecraft.summary import rate

WORDS = st.lists(st.sampled_from(["a", "b", "<c>", "&", " ", "\n"]), max_size=30).map("".join)
TAGS = re.compile(r"</?(?:del|ins|mark|span|em)[^>]*>")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tc.Run:
    return rehearse(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def facts(run: tc.Run) -> Facts:
    return gather(run.steps, rate)


@pytest.fixture(scope="module")
def html(run: tc.Run) -> str:
    return write_report(run).read_text()


def data_of(html: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found
    return json.loads(found[1])


def plain(html: str) -> str:
    told = TAGS.sub("", html)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#x27;", "'")):
        told = told.replace(entity, sign)
    return told.replace("&amp;", "&")


@given(st.recursive(st.text() | st.integers(-9, 9), lambda c: st.dictionaries(st.text(), c)))
def test_an_island_is_the_same_data_and_cannot_end_its_element(data):
    told = island(data)
    assert json.loads(told) == data
    assert not set("<>&\u2028\u2029") & set(told)


@given(st.text(), st.text())
def test_what_is_not_markup_of_ours_is_escaped(text, value):
    made = tag("p", text, title=value)
    assert made.count("<") == 2
    assert made.count(">") == 2
    assert joined(text).replace("&", "").count("<") == 0


@pytest.mark.parametrize("name", ["style", "onclick", "onerror"])
def test_an_attribute_that_the_policy_forbids_cannot_be_written(name):
    with pytest.raises(ValueError, match="forbids"):
        tag("p", "x", **{name: "x"})


def test_the_policy_lets_in_this_script_and_this_style_and_nothing_else(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    rules = policy[1].replace("&#x27;", "'")
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    for name in ("style", "script"):
        source = re.search(rf"<{name}>(.*?)</{name}>", html, re.S)
        assert source
        digest = base64.b64encode(hashlib.sha256(source[1].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in rules


def test_nothing_is_loaded_and_nothing_is_inline(html):
    outside = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.S)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:image/svg)[^"']*""", outside) == []
    assert re.findall(r"<[^>]*\s(?:on\w+|style)=", outside) == []
    assert len(re.findall(r"<script", html)) == 2


def test_hostile_text_is_data_and_never_markup(html):
    outside = html.split('id="data">')[0] + html.rsplit("</script>", 2)[1].split("<script>")[0]
    for text in HOSTILE:
        assert text not in html
    assert f"<script>{PWN}" not in html
    assert "<img" not in outside
    assert "<iframe" not in outside
    assert set(HOSTILE) <= {
        t.get("response", "").removesuffix(" so \\boxed{7}") for t in data_of(html)["traces"]
    }


def test_the_same_run_gives_the_same_page(run, html, tmp_path):
    assert write_report(run, tmp_path / "again.html").read_text() == html


def test_every_way_in_which_a_row_ended_is_shown(run, html):
    told = {(t["step"], t.get("rule")) for t in data_of(html)["traces"]}
    ways = {(s.name, rule) for s in run.steps for rule in run.manifest(s.name).dropped}
    assert ways | {("examples", None)} == told


@pytest.mark.parametrize("most", [0, 1, 6, 1000])
def test_a_page_shows_as_many_rows_as_asked_and_one_of_each_way_at_least(facts, most):
    found = sample(facts, most)
    ways = {(row["step"], row.get("rule")) for row in found.rows}
    assert len(ways) == 5
    assert len(found.rows) == max(5, min(most, found.total - found.withheld))


def test_every_row_ends_once(run, facts):
    assert sample(facts, 9).total == run["traces"].rows


def test_a_question_of_gpqa_is_never_in_a_report(facts, html):
    assert "gated ones ask" not in html
    assert sample(facts, 1000).withheld == 1


def test_what_comes_from_a_private_benchmark_is_withheld(tmp_path):
    recipe = workshop(tmp_path)
    (tmp_path / "traces.jsonl").rename(tmp_path / "gpqa.jsonl")
    recipe.write_text(recipe.read_text().replace("path: traces.jsonl", "path: gpqa.jsonl"))
    run = tc.run(tc.plan(tc.load_recipe(recipe), tmp_path / "runs"))
    found = gather(run.steps, rate)
    assert all(stop.confidential for stop in found.stops)
    assert sample(found, 1000).rows == []
    told = page(found, About("x"))
    assert "almond" not in told
    assert "below the root" not in told
    assert "20 traces" in told


def test_a_filter_says_why(html):
    assert data_of(html)["why"]["kept:wrong"] == "a wrong one teaches <b>wrong</b>"


def test_the_waterfall_accounts_for_every_row(html):
    totals = [int(n) for n in re.findall(r'class="total">.*?class="count">(\d+)<', html)]
    drops = [int(n) for n in re.findall(r'class="drop">.*?class="count">−(\d+)<', html)]
    assert sum(totals[::2]) - sum(drops) == sum(totals[1::2])


def test_duplicates_stand_beside_the_row_that_survives(facts):
    cakes = [c for c in clusters(facts) if "almond" in (c.text or "")]
    assert len(cakes) == 1
    left, right = marked_difference(cakes[0].text or "", cakes[0].repeats[0].text)
    assert "<del>shortly.</del>" in left or "<del>briefly.</del>" in left
    assert right.count("<ins>") == 1


@given(WORDS, WORDS)
def test_marking_a_difference_changes_no_text(left, right):
    told = marked_difference(left, right)
    assert (plain(told[0]), plain(told[1])) == (left, right)


def test_a_leak_names_item_span_and_coverage(facts):
    found = contaminations(facts)[0].found[0]
    assert (found.benchmark, found.item) == ("held-out", "h1")
    assert found.coverage == 1
    assert found.text is not None
    assert found.text[found.start : found.end].startswith(LEAK[:8])


@given(st.text(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_marking_a_span_shows_the_span(text, one, other):
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    assert plain(marked_span(text, start, end)) == text


def test_opinions_are_set_against_each_other(facts):
    told = {one.other: one.counts for one in facts.agreements}
    assert set(told) == {"second_outcome", "theirs_their_flag"}
    flags = next(one for one in facts.agreements if one.other == "theirs_their_flag")
    assert sum(flags.counts.values()) == 5
    assert agreeing(flags) == (3, 5)


def test_difficulty_counts_problems_by_their_correct_traces(facts):
    assert facts.bands is not None
    assert facts.bands.counts[3, 4] == 1
    total = sum(facts.bands.counts.values())
    assert total == facts.verdicts["problem_id"].n_unique()


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=60))
def test_a_histogram_counts_every_value_once(values):
    groups = pl.Series(["correct", "incorrect"] * len(values)).head(len(values))
    found = Histogram.of(pl.Series(values), groups)
    assert sum(map(sum, found.bins)) == len(values)
    assert len(found.bins) % 4 == 0
    assert len(found.bins) <= 36 or max(values) < 40


def test_a_run_that_stopped_has_a_report(tmp_path):
    recipe = workshop(tmp_path)
    (tmp_path / "rules.yaml").write_text(
        "name: r\ncolumns: {nowhere: Float64}\nrules:\n  - {drop: x, when: nowhere > 1, why: y}\n"
    )
    with pytest.raises(tc.errors.TracecraftError):
        tc.run(tc.plan(tc.load_recipe(recipe), tmp_path / "runs"))
    found = tc.Run.all(tmp_path / "runs")[0]
    told = write_report(found).read_text()
    assert "not finished" in told
    assert 'id="verdicts"' in told


def test_a_token_in_a_recipe_is_not_shown(facts):
    recipe = "engine: {use: remote, api_key: abc123secret, url: x}\ntoken: hf_abcdefghijklmnop\n"
    told = page(facts, About("x", recipe))
    assert "abc123secret" not in told
    assert "hf_abcdef" not in told
    assert "url: x" in told


def test_long_texts_are_cut_in_the_middle_and_the_page_says_so(tmp_path):
    recipe = workshop(tmp_path)
    path = tmp_path / "traces.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for row in found:
        row["reasoning"] = "a" + "x " * (CHARACTERS // 5) + "z"
    some = [*found[:2], *found[-6:], found[len(HOSTILE)]]
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    run = tc.run(tc.plan(tc.load_recipe(recipe), tmp_path / "runs"))
    shown = sample(gather(run.steps, rate), 10).rows
    assert sum(len(row["reasoning"]) for row in shown) < 1.1 * CHARACTERS
    assert all(row["reasoning_cut"] > CHARACTERS / 5 for row in shown)
    assert all(row["reasoning"][0] + row["reasoning"][-1] == "az" for row in shown)
    assert all("statement_cut" not in row for row in shown)


def test_a_run_ends_with_its_report_and_a_second_one_touches_nothing(tracecraft, tmp_path):
    recipe = workshop(tmp_path / "w")
    first = tracecraft("run", recipe, "--store", "runs")
    place = Path(re.findall(r"  report +(\S+)", first.stderr)[0])
    before = (tmp_path / place).stat()
    second = tracecraft("run", recipe, "--store", "runs")
    assert "nothing to do" in second.stderr
    after = (tmp_path / place).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    told = (tmp_path / place).read_text()
    assert "path: w/traces.jsonl" in told, "the recipe is there, without where its user works"
    assert str(tmp_path) not in told
    third = tracecraft("report", "latest", "--store", "runs", "--out", "r.html", "--traces", 1)
    assert "report r.html" in third.stderr
    assert len(data_of((tmp_path / "r.html").read_text())["traces"]) == 5


def test_every_asset_is_in_the_package():
    folder = files("tracecraft.publish") / "page"
    names = {one.name for one in folder.iterdir()}
    assert {"page.css", "figures.css", "tex.js", "prose.js", "browser.js", "page.js"} <= names
    for name in names:
        told = (folder / name).read_text(encoding="utf-8")
        assert len(told.splitlines()) <= 400
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", told)


def test_a_section_without_anything_to_tell_is_left_out(facts):
    names = [part.id for part in sections(facts, {})]
    assert "scores" not in names
    assert "merge" not in names
    assert {"funnel", "verdicts", "difficulty", "tokens", "agreement", "duplicates", "contamination"} == set(names)  # fmt: skip # noqa: E501
    assert isinstance(next(iter(sections(facts, {}))).draw(), Html)
