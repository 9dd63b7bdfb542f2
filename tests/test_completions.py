import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft import segment
from tracecraft.completions import Completions
from tracecraft.errors import StoreError
from tracecraft.schema import Completion

WRITER = """
import hashlib, sys
from pathlib import Path
from tracecraft.completions import Completions
from tracecraft.schema import Completion

with Completions(Path(sys.argv[1])) as ledger:
    for i in range(int(sys.argv[2]), int(sys.argv[3])):
        key = hashlib.blake2b(b"%d" % i, digest_size=16).hexdigest()
        ledger.put(key, Completion(f"answer {i} " * 50, "stop", 7, i % 1000), "teacher@1")
        print(i, flush=True)
"""


def key(i: int) -> str:
    return hashlib.blake2b(b"%d" % i, digest_size=16).hexdigest()


def answer(i: int) -> Completion:
    return Completion(f"answer {i} " * 50, "stop", 7, i % 1000)


def filled(folder: Path, count: int) -> Path:
    with Completions(folder) as ledger:
        for i in range(count):
            ledger.put(key(i), answer(i), "teacher@1")
    (segment,) = folder.glob("*.jsonl")
    return segment


def write(folder: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_was_filed_is_found_again(tmp_path):
    filled(tmp_path / "completions", 100)
    with Completions(tmp_path / "completions") as ledger:
        assert len(ledger) == 100
        assert [ledger.get(key(i)) for i in range(100)] == [answer(i) for i in range(100)]
        assert ledger.get_many([key(3), key(500), key(1)]) == [answer(3), None, answer(1)]
        assert key(7) in ledger
        assert key(100) not in ledger


def test_looking_up_leaves_no_file(tmp_path):
    with Completions(tmp_path / "completions") as ledger:
        assert ledger.get(key(0)) is None
    assert not (tmp_path / "completions").exists()


def test_a_line_names_all_that_is_known(tmp_path):
    segment = filled(tmp_path, 1)
    row = json.loads(segment.read_text())
    assert row.keys() == {
        "key",
        "text",
        "finish",
        "prompt_tokens",
        "completion_tokens",
        "teacher",
        "time",
    }
    assert row["teacher"] == "teacher@1"


def test_a_failure_is_on_file_but_owed(tmp_path):
    with Completions(tmp_path) as ledger:
        ledger.put(key(0), Completion("", "failed", error="no room"))
        assert key(0) not in ledger
        ledger.put(key(0), answer(0))
        assert ledger.get(key(0)) == answer(0)
    assert Completions(tmp_path).get(key(0)) == answer(0)
    (segment,) = tmp_path.glob("*.jsonl")
    assert json.loads(segment.read_text().splitlines()[0])["error"] == "no room"


def test_the_oldest_answer_is_the_one_served(tmp_path):
    with Completions(tmp_path) as first, Completions(tmp_path) as second:
        first.put(key(0), Completion("older", "stop"))
        second.put(key(0), Completion("younger", "stop"))
        second.refresh()
        assert second.get(key(0)).text == "older"
    assert Completions(tmp_path).get(key(0)).text == "older"


def test_others_are_seen_after_refresh(tmp_path):
    with Completions(tmp_path) as reader, Completions(tmp_path) as writer:
        writer.put(key(0), answer(0))
        assert key(0) not in reader
        reader.refresh()
        assert reader.get(key(0)) == answer(0)
        writer.put(key(1), answer(1))
        reader.refresh()
        assert reader.get(key(1)) == answer(1)


def test_without_a_folder_it_remembers_for_itself():
    ledger = Completions()
    ledger.put(key(0), answer(0))
    ledger.put(key(1), Completion("", "failed"))
    assert ledger.get_many([key(0), key(1)]) == [answer(0), None]


@pytest.mark.parametrize("harm", ["missing", "short", "torn", "garbage", "zeros", "foreign"])
def test_the_index_is_only_a_hint(tmp_path, harm):
    segment = filled(tmp_path / "a", 300)
    index = segment.with_suffix(".idx")
    good = index.read_bytes()
    if harm == "missing":
        index.unlink()
    else:
        other = filled(tmp_path / "b", 310).with_suffix(".idx").read_bytes()
        wrong = {
            "short": good[: 44 * 100],
            "torn": good[:-13],
            "garbage": good[:2000] + os.urandom(3000) + good[5000:],
            "zeros": good[:2000] + bytes(3000) + good[5000:],
            "foreign": other[44:],
        }
        index.write_bytes(wrong[harm])
    with Completions(tmp_path / "a") as ledger:
        assert len(ledger) >= 290
        assert [ledger.get(key(i)) for i in range(300)] == [answer(i) for i in range(300)]


@pytest.mark.parametrize("shift", [-7, 7])
def test_an_index_whose_records_end_elsewhere_hides_no_line(tmp_path, shift):
    path = filled(tmp_path, 30)
    index = np.frombuffer(path.with_suffix(".idx").read_bytes(), segment.ENTRY).copy()
    index["offset"][1:] = index["offset"][1:].astype(int) + shift
    index["check"] = segment._check(index)
    for kept in (index[1:], index):
        path.with_suffix(".idx").write_bytes(kept.tobytes())
        with Completions(tmp_path) as ledger:
            assert [ledger.get(key(i)) for i in range(30)] == [answer(i) for i in range(30)]


def test_every_torn_tail_is_owed_again(tmp_path):
    with Completions(tmp_path) as ledger:
        for i in range(3):
            ledger.put(key(i), Completion(f"answer {i}", "stop"))
    (segment,) = tmp_path.glob("*.jsonl")
    data, index = segment.read_bytes(), segment.with_suffix(".idx").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(len(data)):
        segment.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        for hint in (index, index[: 44 * whole], b""):
            segment.with_suffix(".idx").write_bytes(hint)
            with Completions(tmp_path) as ledger:
                assert [key(i) in ledger for i in range(3)] == [i < whole for i in range(3)]
                assert [c.text for c in ledger.get_many(map(key, range(whole)))] == [
                    f"answer {i}" for i in range(whole)
                ]


@settings(max_examples=200, deadline=None)
@given(
    junk=st.binary(max_size=80),
    where=st.integers(0, 5),
    text=st.text(max_size=50),
)
def test_a_damaged_line_costs_itself_alone(tmp_path_factory, junk, where, text):
    folder = tmp_path_factory.mktemp("ledger")
    with Completions(folder) as ledger:
        for i in range(5):
            ledger.put(key(i), Completion(f"{i}{text}", "stop"))
    (segment,) = folder.glob("*.jsonl")
    segment.with_suffix(".idx").unlink()
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:where], junk + b"\n", *lines[where:]]))
    found = Completions(folder).get_many(map(key, range(5)))
    assert found == [Completion(f"{i}{text}", "stop") for i in range(5)]


def test_a_killed_writer_loses_only_what_was_in_flight(tmp_path):
    with write(tmp_path, 0, 1_000_000) as writer:
        told = [writer.stdout.readline() for _ in range(400)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()
    said = [int(line) for line in told if line.endswith("\n")]
    with Completions(tmp_path) as ledger:
        assert ledger.get_many(map(key, said)) == [answer(i) for i in said]
        assert len(ledger) - len(said) <= 1
        ledger.put(key(2_000_000), answer(5))
        assert ledger.get(key(2_000_000)) == answer(5)


def test_two_processes_share_one_ledger(tmp_path):
    reader = Completions(tmp_path)
    with write(tmp_path, 0, 2_000) as one, write(tmp_path, 1_000, 3_000) as other:
        while one.stdout.readline():
            other.stdout.readline()
            reader.refresh()
            for i in range(0, 3_000, 97):
                assert reader.get(key(i)) in (None, answer(i))
        other.communicate()
    reader.refresh()
    assert len(reader) == 3_000
    assert reader.get_many(map(key, range(3_000))) == [answer(i) for i in range(3_000)]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_threads_share_one_ledger(tmp_path):
    with Completions(tmp_path) as ledger:

        def work(first: int) -> None:
            for i in range(first, first + 200):
                ledger.put(key(i), answer(i))
                assert ledger.get(key(i)) == answer(i)

        threads = [threading.Thread(target=work, args=(200 * n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ledger) == 800
    assert len(Completions(tmp_path)) == 800


def test_a_copy_for_another_process_starts_its_own_segment(tmp_path):
    with Completions(tmp_path) as ledger:
        ledger.put(key(0), answer(0))
        copy = pickle.loads(pickle.dumps(ledger))
        copy.put(key(1), answer(1))
        copy.close()
        ledger.refresh()
        assert ledger.get(key(1)) == answer(1)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


FULL = """
import resource, signal, sys
from pathlib import Path
from tracecraft import segment
from tracecraft.completions import Completions
from tracecraft.errors import StoreError
from tracecraft.schema import Completion

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
ledger = Completions(Path(sys.argv[1]))
ledger.put("0" * 31 + "1", Completion("first", "stop"))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    ledger.put("0" * 31 + "2", Completion("x" * 5000, "stop"))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.put("0" * 31 + "3", Completion("third", "stop"))
assert ledger.get("0" * 31 + "3").text == "third"
ledger.close()
"""


def test_a_full_disk_is_said_and_spoils_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "file too large" in done.stdout
    assert "next" in done.stdout
    ledger = Completions(tmp_path)
    found = ledger.get_many(["0" * 31 + d for d in "123"])
    assert [c and c.text for c in found] == ["first", None, "third"]


def test_a_place_that_is_no_folder_is_said(tmp_path):
    (tmp_path / "completions").write_text("")
    with pytest.raises(StoreError, match="completions"):
        Completions(tmp_path / "completions").put(key(0), answer(0))


def test_a_lookup_does_not_read_what_it_skips(tmp_path):
    with Completions(tmp_path) as ledger:
        for i in range(2_000):
            ledger.put(key(i), Completion("x" * 20_000, "stop"))
    begun = time.process_time()
    assert len(Completions(tmp_path)) == 2_000
    assert time.process_time() - begun < 0.2
