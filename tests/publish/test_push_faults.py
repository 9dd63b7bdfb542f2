import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hubstate import WRITER, Blob, Fault

from tracecraft.errors import StageError, UsageError
from tracecraft.publish import hub_client
from tracecraft.publish.hub import push, ready
from tracecraft.publish.hub_bundle import dataset_bundle

FILES = ["README.md", "code/train-00000-of-00001.parquet", "math/train-00000-of-00001.parquet"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(hub_client, "FIRST_WAIT", 0.01)


@pytest.fixture
def bundle(tmp_path):
    place = tmp_path / "mine"
    for config, size in {"math": 3000, "code": 2000}.items():
        (place / config).mkdir(parents=True)
        pl.DataFrame({"text": [f"{config} {n}" for n in range(size)]}).write_parquet(
            place / config / "train.parquet"
        )
    return dataset_bundle("org/set", [place], tmp_path / "made")


def whole(hub) -> bool:
    files = hub.repos["dataset", "org/set"].files
    return set(files) == {".gitattributes", "tracecraft.json", *FILES}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT", "/lfs/", 429, 1, {"Retry-After": "0"}),
        Fault("PUT", "/lfs/", 500),
        Fault("PUT", "/lfs/", "reset"),
        Fault("POST", "batch", 503),
        Fault("POST", "preupload", 503),
        Fault("GET", "/tree/", 503),
        Fault("GET", "whoami", 429, 1, {"Retry-After": "0"}),
        Fault("POST", "repos/create", 500),
        Fault("POST", "commit/main", 429, 1, {"Retry-After": "0"}),
        Fault("POST", "commit/main", 500),
        Fault("POST", "commit/main", 503, 2),
        Fault("POST", "commit/main", "reset"),
        Fault("POST", "commit/main", "lost"),
        Fault("POST", "validate-yaml", 503),
    ],
    ids=lambda fault: f"{fault.path}-{fault.what}",
)
def test_a_fault_on_the_way_is_waited_out_and_nothing_is_committed_twice(fault, hub, bundle):
    hub.faults.append(fault)
    ready("org/set", "dataset")
    done = push(bundle)
    assert whole(hub)
    repo = hub.repos["dataset", "org/set"]
    assert (
        repo.messages == ["initial commit", "tracecraft: 4 files"] or fault.path == "validate-yaml"
    )
    assert done.commit == repo.head
    assert fault.times == 0


def test_a_hub_that_stays_down_is_an_error_that_says_to_push_again(
    hub, bundle, monkeypatch, caplog
):
    monkeypatch.setattr(hub_client, "TRIES", 2)
    ready("org/set", "dataset")
    hub.faults.append(Fault("POST", "commit/main", 503, 99))
    with pytest.raises(StageError, match="push again") as error:
        push(bundle)
    assert hub.repos["dataset", "org/set"].messages == ["initial commit"], "nothing is to be seen"
    assert WRITER not in str(error.value) + caplog.text
    hub.faults.clear()
    before = hub.sent("PUT", "/lfs/")
    push(bundle)
    assert whole(hub)
    assert hub.sent("PUT", "/lfs/") == before, "what was uploaded is kept"


@pytest.mark.parametrize("where", ["/lfs/", pytest.param("commit/main", marks=pytest.mark.slow)])
def test_a_kill_in_the_middle_leaves_nothing_half_published(where, hub, tmp_path, bundle):
    method = "PUT" if where == "/lfs/" else "POST"
    command = [sys.executable, "-m", "tracecraft", "push", tmp_path / "mine", "--repo", "org/set"]
    hub.repo("dataset", "org/set", {"README.md": b"old card"})
    hub.faults += [Fault(method, where, lambda: None), Fault(method, where, "hang")]
    process = subprocess.Popen([str(c) for c in command], cwd=tmp_path, stderr=subprocess.PIPE)
    if where == "commit/main":
        hub.faults.pop(0)
    assert hub.hanging.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    hub.go_on.set()
    repo = hub.repos["dataset", "org/set"]
    if where == "/lfs/":
        assert repo.messages == ["initial commit"]
        assert hub.text("dataset", "org/set", "README.md") == "old card"
    again = subprocess.run([str(c) for c in command], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert whole(hub)
    assert "old card" in hub.text("dataset", "org/set", "README.md")
    assert len(repo.messages) == 2, "one commit, whether the first got through or not"


def test_what_somebody_writes_into_the_card_meanwhile_is_read_again(hub, bundle):
    ready("org/set", "dataset")
    repo = hub.repos["dataset", "org/set"]

    def edit():
        text = b"---\nlicense: other\n---\n\nWritten meanwhile\n"
        repo.commit({**repo.files, "README.md": Blob(text, None, len(text))}, "by hand")

    hub.faults.append(Fault("POST", "commit/main", edit))
    push(bundle)
    assert whole(hub)
    card = hub.text("dataset", "org/set", "README.md")
    assert "Written meanwhile" in card
    assert "license: other" in card
    assert repo.messages == ["initial commit", "by hand", "tracecraft: 4 files"]


def test_a_record_that_somebody_broke_is_written_anew_and_removes_nothing(hub, bundle):
    ready("org/set", "dataset")
    push(bundle)
    repo = hub.repos["dataset", "org/set"]
    repo.commit({**repo.files, "tracecraft.json": Blob(b"{broken", None, 7)}, "by hand")
    assert push(bundle).removed == ()
    assert whole(hub)


def test_no_token_is_in_anything_that_is_written_or_said(hub, tmp_path, tracecraft, monkeypatch):
    place = tmp_path / "mine/math"
    place.mkdir(parents=True)
    leaked = {"text": ["x"], "source": [f"file:/data/ann/{WRITER}"], "teacher": [f"m@{WRITER}"]}
    pl.DataFrame(leaked).write_parquet(place / "train.parquet")
    hub.faults += [Fault("PUT", "/lfs/", 500), Fault("POST", "commit/main", 403)]
    done = tracecraft("push", tmp_path / "mine", "--repo", "org/set", code=3)
    assert WRITER not in done.stderr + done.stdout
    assert "injected" in done.stderr
    done = tracecraft("push", tmp_path / "mine", "--repo", "org/set", "--json")
    assert WRITER not in done.stderr + done.stdout
    assert json.loads(done.stdout)[0]["commit"]
    assert WRITER not in hub.text("dataset", "org/set", "README.md")
    assert WRITER not in hub.text("dataset", "org/set", "tracecraft.json")
    kept = [p for p in tmp_path.rglob("*") if p.is_file() and "mine" not in p.parts]
    assert not [p for p in kept if WRITER.encode() in p.read_bytes()]


@pytest.mark.parametrize(
    "text", [f"Bearer {WRITER}", "Illegal header value b'Bearer hf_abcdefghij'"]
)
def test_an_errors_text_is_freed_of_tokens(text, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITER)
    error = RuntimeError("while uploading")
    error.__cause__ = ConnectionError(text)
    told = hub_client.said(error)
    assert WRITER not in told
    assert "hf_abcdefghij" not in told
    assert "hf_…" in told


def test_a_card_that_the_hub_refuses_is_said_and_nothing_is_committed(hub, bundle):
    hub.repo("dataset", "org/set", {"README.md": b"---\nlicense: nonsense\n---\n"})
    with pytest.raises(StageError, match="must be known"):
        push(bundle)
    assert hub.repos["dataset", "org/set"].messages == ["initial commit"]


def test_offline_is_said(hub, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        ready("org/set", "dataset")


def test_waits_are_said_so_that_nobody_wonders(hub, bundle, caplog):
    hub.faults.append(Fault("POST", "commit/main", 503))
    ready("org/set", "dataset")
    with caplog.at_level(logging.WARNING, "tracecraft"):
        push(bundle)
    assert "the hub says 503" in caplog.text
    assert Path(bundle.files[FILES[1]]).exists()
