"""Adapters of newer models on their authors' code, with random weights.

Skipped unless `COPROP_UPSTREAM` names a folder with the checkouts that `upstream_newer.CHECKOUTS`
lists; a model is skipped without its own. Every one runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CHECKOUTS = Path(os.environ.get("COPROP_UPSTREAM", "/nowhere"))
MODELS = {
    "aavs": ("steppingstones", "SteppingStonesBackend"),
    "stepping_stones": ("steppingstones", "SteppingStonesBackend"),
    "cavp": ("cavp", "CAVPBackend"),
    "cavp-binary": ("cavp", "CAVPBackend"),
    "gavs": ("gavs", "GAVSBackend"),
    "sama": ("sama", "SAMABackend"),
    "combo-res50-s4": ("combo", "COMBOBackend"),
    "combo-pvt2-avss": ("combo", "COMBOBackend"),
    "vct-s4": ("vct", "VCTBackend"),
    "vct-ms3": ("vct", "VCTBackend"),
    "vct-avss": ("vct", "VCTBackend"),
}

pytestmark = pytest.mark.slow


def run(name, *arguments):
    """Run the checks of a model in a process of its own; returns what it says."""
    if not (CHECKOUTS / MODELS[name][0]).is_dir():
        pytest.skip(f"COPROP_UPSTREAM has no {MODELS[name][0]}")
    script = str(HERE / "upstream_newer_checks.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, name, *arguments],
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", MODELS)
def test_real_models(name):
    said = run(name)
    assert said["accepted by"] == [MODELS[name][1]]
    assert said["spread"] > 1e-3
    assert said["bit-equal"]
    # A smaller batch, whose sums may be taken in another order.
    assert said["keyframes"] < 1e-4, said
    assert said["carried"] > 1e-3, said
    assert max(said["clip"], said["window"]) < 1e-4, said
    for what in ("flags", "weights", "attributes"):
        assert said[what], what


@pytest.mark.parametrize("name", MODELS)
def test_real_models_keep_the_rules_of_backends(name):
    assert run(name, "conformance") == {}
