import json

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracecraft.errors import DataError
from tracecraft.publish.card import BEGIN, END, Card, yaml_block
from tracecraft.publish.card_facts import public
from tracecraft.publish.card_licences import together
from tracecraft.publish.card_load import llamafactory_info
from tracecraft.publish.card_model import clean_record
from tracecraft.publish.parquet import features

OURS = Card(
    {"license": "mit", "tags": ["a", "b"], "configs": [{"config_name": "math"}]}, "# Ours\n\ntext"
)
THEIRS = """---
# chosen by hand
license: apache-2.0   # for the whole
pretty_name: 'Mine'
tags:
- z
configs:
- config_name: old
---

# My own words

and more
"""


def header(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


def test_a_new_card_is_ours_and_written_twice_is_the_same():
    once = OURS.into("", {})
    assert header(once) == OURS.header
    assert OURS.into(once, OURS.header) == once


def test_what_somebody_wrote_stays_to_the_byte_with_comments_and_keys():
    merged = OURS.into(THEIRS, {})
    assert (
        "# chosen by hand\nlicense: apache-2.0   # for the whole\npretty_name: 'Mine'\n" in merged
    )
    assert "\n# My own words\n\nand more\n" in merged
    assert header(merged)["tags"] == ["z", "a", "b"]
    assert header(merged)["configs"] == [{"config_name": "math"}], "nothing loads with another"
    assert merged.index("My own words") < merged.index(BEGIN)
    assert OURS.into(merged, OURS.header) == merged


def test_words_around_our_part_stay_when_it_is_written_anew():
    first = OURS.into("", {})
    edited = first.replace(BEGIN, f"Before.\n\n{BEGIN}").replace(END, f"{END}\n\nAfter.")
    second = Card(OURS.header, "# New").into(edited, OURS.header)
    assert "Before.\n" in second
    assert "After.\n" in second
    assert "# New" in second
    assert "# Ours" not in second


def test_a_key_that_nobody_changed_follows_us_and_one_that_somebody_changed_stays():
    first = OURS.into("", {})
    later = Card({**OURS.header, "license": "cc0-1.0", "tags": ["b", "c"]}, "# New")
    assert header(later.into(first, OURS.header))["license"] == "cc0-1.0"
    assert header(later.into(first, OURS.header))["tags"] == ["b", "c"]
    edited = first.replace("license: mit", "license: other")
    assert header(later.into(edited, OURS.header))["license"] == "other"


def test_a_key_that_we_no_longer_say_goes_unless_somebody_changed_it():
    before = {**OURS.header, "base_model": ["x/y"]}
    first = Card(before, "# Ours").into("", {})
    assert "base_model" not in header(OURS.into(first, before))
    edited = first.replace("x/y", "mine/own")
    assert header(OURS.into(edited, before))["base_model"] == ["mine/own"]


def test_a_tag_that_somebody_took_out_stays_out():
    first = OURS.into("", {}).replace("- a\n", "")
    assert header(OURS.into(first, OURS.header))["tags"] == ["b"]


@pytest.mark.parametrize("broken", ["a: [1", "- a", "a: 1\na: 2", "text"])
def test_a_header_that_is_not_one_is_an_error_and_not_overwritten(broken):
    with pytest.raises(DataError, match=r"README\.md"):
        OURS.into(f"---\n{broken}\n---\n", {})


@pytest.mark.parametrize(
    "text", ["# Only text\n", "\ufeff# marked\n", "a\r\nb\r\n", "---\nno fence"]
)
def test_a_text_without_a_header_stays(text):
    merged = OURS.into(text, {})
    assert text.strip("\ufeff\n\r").splitlines()[-1] in merged
    assert merged.startswith("---\n")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_yaml_of_version_1_1_reads_back_what_was_said(value):
    assert yaml.safe_load(yaml_block("key", value)) == {"key": value}


@pytest.mark.parametrize(
    "text", ["no", "NO", "on", "y", "1e-5", "2024-01-01", "n<1K", "null", "a: b"]
)
def test_a_text_that_yaml_takes_for_something_else_is_quoted(text):
    assert yaml.safe_load(yaml_block("language", [text])) == {"language": [text]}


@pytest.mark.parametrize(
    ("licences", "said", "word"),
    [
        (["MIT"], "mit", "notices"),
        (["Apache-2.0", "MIT"], "other", "notices"),
        (["MIT", "CC-BY-SA-4.0"], "cc-by-sa-4.0", "same licence"),
        (["MIT", "CC-BY-NC-4.0"], "cc-by-nc-4.0", "commercially"),
        (["CC-BY-NC-4.0", "CC-BY-SA-4.0"], "other", "contradict"),
        (["CC-BY-SA-4.0", "GPL-3.0"], "other", "may not mix"),
        (["CC-BY-ND-4.0"], "other", "not allowed"),
        (["MIT", None], "other", "without a recorded licence"),
        ([None], "unknown", "without a recorded licence"),
        (["My Own"], "other", "read what"),
        (["CC0-1.0"], "cc0-1.0", "Nothing is asked for"),
        (["Public Domain"], "other", "Nothing is asked for"),
    ],
)
def test_licences_say_what_they_come_to_together(licences, said, word):
    found = together(licences)
    assert found.header == said
    assert word in " ".join(found.says)


def test_places_and_tokens_are_not_published():
    told = {
        "/data/ann/secret/bench.jsonl": "digest",
        "model": "/data/models/base",
        "note": "read /data/ann/a.json: hf_abcdefghijKLMNOP",
        "address": "https://huggingface.co/org/name",
        "repo": "org/name",
    }
    assert public(told) == {
        "bench.jsonl": "digest",
        "model": "base",
        "note": "read a.json: hf_…",
        "address": "https://huggingface.co/org/name",
        "repo": "org/name",
    }


def test_a_merge_record_names_steps_instead_of_folders():
    told = json.dumps({"models": ["/x/store/code-1/output", "/elsewhere/model"]})
    cleaned = json.loads(clean_record(told, {"/x/store/code-1/output": "code"}))
    assert cleaned == {"models": ["code", "model"]}


def test_features_are_those_that_datasets_writes_itself():
    import datasets

    schema = pa.schema(
        [
            ("a", pa.string()),
            ("n", pa.int32()),
            ("f", pa.float64()),
            ("b", pa.bool_()),
            ("m", pa.list_(pa.struct([("role", pa.string()), ("n", pa.list_(pa.int32()))]))),
            ("s", pa.struct([("x", pa.float32())])),
            ("l", pa.list_(pa.list_(pa.string()))),
        ]
    )
    assert features(schema) == datasets.Features.from_arrow_schema(schema)._to_yaml_list()


def test_llamafactory_finds_roles_and_texts():
    told = llamafactory_info("org/set", ["math"])["math"]
    assert (told["hf_hub_url"], told["subset"], told["formatting"]) == (
        "org/set",
        "math",
        "sharegpt",
    )
    assert told["columns"] == {"messages": "messages"}
    assert told["tags"]["role_tag"] == "role"
    assert told["tags"]["assistant_tag"] == "assistant"
