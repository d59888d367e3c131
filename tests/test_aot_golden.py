"""The propagator without sound, and with sound untouched, is upstream AOT's function."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from compare import Golden
from fill import checksum

from coprop_plugin.propagation import load_aot_checkpoint

FOLDER = Path(__file__).parent / "golden"
CASES = ("forced_gap2", "forced_gap5", "replay_gap2")


@lru_cache(maxsize=1)
def golden_and_weights(model):
    golden = Golden(FOLDER / f"{model}.npz")
    weights = golden.state_dict()
    assert checksum(weights) == golden.meta["checksum"]
    return golden, weights


def propagate(golden, weights, case, dtype, sound=None):
    settings = golden.meta["settings"][case]
    propagator = load_aot_checkpoint(
        weights,
        long_term_gap=settings["long_term_gap"],
        insert_layers=(0, 1, 2, 3),
        tokens="map",
    ).to(dtype)
    frames = golden.input(case, "frames").to(dtype)
    labels = golden.input(case, "labels").long()
    remembered = labels[1:]
    if settings["memory_labels"] != "labels":
        remembered = torch.from_numpy(golden.arrays[settings["memory_labels"]]).long()
    sound = None if sound is None else sound.to(dtype)
    logits = []
    with torch.no_grad():
        memory = propagator.start(frames[:1], sound, labels[:1])
        for frame, masks in zip(frames[1:], remembered, strict=True):
            logits.append(propagator.step(memory, frame[None], sound, masks[None]))
    return torch.cat(logits)


def check(model, case, dtype, sound=None):
    golden, weights = golden_and_weights(model)
    logits = propagate(golden, weights, case, dtype, sound)
    double = dtype == torch.float64
    key = f"{case}/logits"
    assert golden.error(key, logits) < golden.tolerance(key, double=double)
    labels = logits.argmax(1).to(torch.uint8)
    assert golden.error(f"{case}/labels", labels) < golden.tolerance(f"{case}/labels")


def full(model, case, dtype):
    """One case of each kind by default; the rest, seconds each, where `slow` tests are wanted."""
    quick = {("aot_r50_aotl", "forced_gap2"), ("aot_aotl", "forced_gap5")}
    quick |= {("aot_aott", case) for case in CASES}
    # Float64, in which the bounds are tight, takes three seconds a case.
    if dtype == torch.float64:
        quick = {("aot_aott", "replay_gap2")}
    return pytest.param(
        model, case, dtype, marks=() if (model, case) in quick else pytest.mark.slow
    )


@pytest.mark.parametrize(
    ("model", "case", "dtype"),
    [
        full(model, case, dtype)
        for model in ("aot_r50_aotl", "aot_aotl", "aot_aott")
        for case in CASES
        for dtype in (torch.float32, torch.float64)
    ],
)
def test_logits_are_upstreams(model, case, dtype):
    check(model, case, dtype)


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
def test_sound_that_was_never_trained_changes_nothing_upstream_said(dtype):
    torch.manual_seed(0)
    check("aot_aott", "replay_gap2", dtype, sound=torch.randn(1, 27, 128))
