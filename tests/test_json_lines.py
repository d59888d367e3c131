"""Files of JSON lines: what several writers append is read back whole, whatever stops them."""

import multiprocessing
import os
import threading

import pytest

from coprop_plugin.errors import DatasetError, MediaError
from coprop_plugin.limits import Limit
from coprop_plugin.media import JsonLines

# Forked where that exists: a new interpreter takes seconds to import torch.
PROCESSES = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")


def append_many(path, writer, count):
    lines = JsonLines(path)
    for number in range(count):
        lines.append({"writer": writer, "number": number, "text": "é\n\u2028" * 500})


def test_two_processes_append_at_once_and_no_line_is_lost(tmp_path):
    path = tmp_path / "made" / "journal.jsonl"
    processes = [PROCESSES.Process(target=append_many, args=(path, w, 40)) for w in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    records = list(JsonLines(path).read())
    for writer in range(2):
        assert [r["number"] for r in records if r["writer"] == writer] == list(range(40))
    assert path.read_bytes().count(b"\n") == 80


def test_threads_may_share_an_object(tmp_path):
    lines = JsonLines(tmp_path / "a.jsonl")
    with lines:
        threads = [
            threading.Thread(target=lambda k=k: [lines.append({"k": k}) for _ in range(20)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(r["k"] for r in lines.read()) == sorted([0, 1, 2, 3] * 20)


@pytest.mark.parametrize("torn", [b'{"b": 2', b"\xff\x00", b"[1]", b"[" * 100_000, b"3" * 5000])
def test_a_torn_last_line_is_skipped_and_the_next_one_is_whole(torn, tmp_path):
    lines = JsonLines(tmp_path / "a.jsonl")
    lines.append({"a": 1})
    with lines.path.open("ab") as file:
        file.write(torn)
    assert list(lines.read()) == [{"a": 1}]
    lines.append({"c": 3})
    assert list(lines.read()) == [{"a": 1}, {"c": 3}]


def test_a_whole_last_line_without_a_line_break_counts(tmp_path):
    lines = JsonLines(tmp_path / "a.jsonl")
    lines.path.write_text('{"a": 1}')
    lines.append({"b": 2})
    assert list(lines.read()) == [{"a": 1}, {"b": 2}]


def test_a_file_that_is_not_there_has_no_records(tmp_path):
    lines = JsonLines(tmp_path / "nothing" / "a.jsonl")
    assert list(lines.read()) == lines.read_new() == []
    assert not list(tmp_path.iterdir())


def test_a_line_over_the_limit_is_refused_and_not_written(tmp_path):
    lines = JsonLines(tmp_path / "a.jsonl", DatasetError, Limit("COPROP_MAX_X", 30, "bytes"))
    lines.append({"a": 1})
    with pytest.raises(
        DatasetError, match="A line of .*a.jsonl: 110 bytes exceeds the limit of 30"
    ):
        lines.append({"a": "x" * 100})
    assert list(lines.read()) == [{"a": 1}]


def test_a_file_over_the_limit_is_refused_and_can_be_allowed(tmp_path, monkeypatch):
    lines = JsonLines(tmp_path / "a.jsonl", DatasetError, Limit("COPROP_MAX_X", 30, "bytes"))
    for number in range(4):
        lines.append({"number": number})
    with pytest.raises(DatasetError, match="a.jsonl: 56 bytes exceeds.*set COPROP_MAX_X=56"):
        list(lines.read())
    monkeypatch.setenv("COPROP_MAX_X", "56")
    assert len(list(lines.read())) == 4


def test_new_records_come_once(tmp_path):
    ours, theirs = JsonLines(tmp_path / "a.jsonl"), JsonLines(tmp_path / "a.jsonl")
    theirs.append({"a": 1})
    assert ours.read_new() == [{"a": 1}]
    assert ours.read_new() == []
    with ours.path.open("ab") as file:
        file.write(b'{"b": ')
        file.flush()
        assert ours.read_new() == []
        file.write(b"2}\n")
    assert ours.read_new() == [{"b": 2}]


def test_all_records_can_be_replaced(tmp_path):
    lines = JsonLines(tmp_path / "a.jsonl")
    lines.append({"a": 1})
    assert lines.read_new() == [{"a": 1}]
    lines.rewrite([{"b": 2}, {"c": 3}])
    assert lines.read_new() == list(lines.read()) == [{"b": 2}, {"c": 3}]
    assert {p.name for p in tmp_path.iterdir()} == {"a.jsonl", ".a.jsonl.lock"}


def test_a_claimed_file_is_written_by_its_owner_alone(tmp_path):
    first = JsonLines(tmp_path / "a.jsonl")
    second = JsonLines(tmp_path / "a.jsonl", wait_s=0.05)
    with first:
        first.append({"a": 1})
        for write in (second.claim, lambda: second.append({"b": 2})):
            with pytest.raises(MediaError, match="Another process is writing .*a.jsonl"):
                write()
    with second:
        second.append({"b": 2})
    assert list(first.read()) == [{"a": 1}, {"b": 2}]


def hold(path, claimed, done):
    with JsonLines(path):
        claimed.set()
        done.wait(60)


def test_another_process_cannot_claim_a_file_and_a_killed_one_leaves_it_free(tmp_path):
    path = tmp_path / "a.jsonl"
    claimed, done = PROCESSES.Event(), PROCESSES.Event()
    process = PROCESSES.Process(target=hold, args=(path, claimed, done))
    process.start()
    assert claimed.wait(60)
    with pytest.raises(MediaError, match="Another process"):
        JsonLines(path).claim()
    process.kill()
    process.join()
    JsonLines(path).claim()


def test_nothing_is_left_of_a_removed_file(tmp_path):
    lines = JsonLines(tmp_path / ".points.json.journal")
    with lines:
        lines.append({"a": 1})
        lines.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    for path in (tmp_path / "file" / "a.jsonl", tmp_path / "folder.jsonl"):
        with pytest.raises(MediaError, match=f"{path} cannot be written .*choose another"):
            JsonLines(path).append({"a": 1})
    with pytest.raises(MediaError, match="folder.jsonl cannot be read"):
        list(JsonLines(tmp_path / "folder.jsonl").read())


def test_what_is_not_json_is_the_callers_mistake(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        JsonLines(tmp_path / "a.jsonl").append({"a": tmp_path})
    assert list(tmp_path.iterdir()) == []
