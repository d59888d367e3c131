"""What the propagator's speed is measured against does the same: AOT, plainly written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from coprop_plugin.propagation import AudioInsertPropagator
from coprop_plugin.propagation.block import sine_position

BENCHMARKS = Path(__file__).resolve().parent.parent / "examples" / "benchmarks"
UPSTREAM = Path(os.environ.get("COPROP_UPSTREAM") or "nowhere")


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import propagation_speed

    return propagation_speed


@pytest.mark.parametrize("windows", ["unfold", "dense"])
@torch.no_grad()
def test_the_plain_loop_equals_ours(benchmarks, windows):
    torch.manual_seed(0)
    toy = dict(encoder=dict(type="r50", width=8, blocks=(1, 1, 1)), width=16, num_heads=2)
    ours = AudioInsertPropagator("R50_AOTL", insert_layers=(), long_term_gap=2, **toy)
    ours = ours.eval().double()
    frames = torch.rand(6, 1, 3, 49, 65).double()
    masks = torch.zeros(1, 49, 65).long()
    masks[:, 10:30, 10:30] = 1
    masks[:, 30:40, 40:60] = 2
    plain = benchmarks.PlainLoop(ours, windows)
    plain.start(frames[0], masks, sine_position(4, 5, 16))
    memory = ours.start(frames[0], None, masks)
    for frame in frames[1:]:
        torch.testing.assert_close(plain.step(frame), ours.step(memory, frame, None))


def test_runs_add_up_to_a_history_and_a_plot(benchmarks, tmp_path, monkeypatch, capsys):
    row = dict(size=225, frames=10, ratio={"plain unfold": 1.0, "ours": 2.0})
    monkeypatch.setattr(benchmarks, "case", lambda *args: row)
    out, plot = tmp_path / "speed.json", tmp_path / "speed.png"
    command = ["propagation_speed", "--cases", "225:10", "--out", str(out), "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    for _ in range(2):
        benchmarks.main()
    assert [run["cases"] for run in json.loads(out.read_text())] == [[row], [row]]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_stand_in_for_the_authors_extension_correlates(benchmarks):
    from _upstream_aot import Correlation

    options = dict(stride=1, padding=0, dilation=1, dilation_patch=1)
    query, key = torch.randn(2, 3, 4, 6, 5)
    found = Correlation(kernel_size=1, patch_size=5, **options)(query, key)
    assert found.shape == (3, 5, 5, 6, 5)
    padded = torch.nn.functional.pad(key, (2, 2, 2, 2))
    for dy in range(5):
        for dx in range(5):
            moved = padded[:, :, dy : dy + 6, dx : dx + 5]
            torch.testing.assert_close(found[:, dy, dx], (query * moved).sum(1))


@pytest.mark.slow
@pytest.mark.skipif(not (UPSTREAM / "aot").is_dir(), reason="COPROP_UPSTREAM")
def test_the_authors_own_code_equals_ours(tmp_path):
    """In a process of its own: its modules have names as `utils`."""
    out = tmp_path / "speed.json"
    script = [sys.executable, "-W", "ignore", str(BENCHMARKS / "propagation_speed.py")]
    options = ["--cases", "65:10", "--rounds", "1", "--upstream", str(UPSTREAM / "aot")]
    done = subprocess.run(
        [*script, *options, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())[0]["cases"]
    assert row["largest_difference"] < 1e-4
    assert row["ratio_to_upstream"]["upstream"] == 1
