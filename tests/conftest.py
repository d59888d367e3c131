"""Shared by all tests: no network, few threads, and small clips with known truth."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests run side by side; more threads than cores make small networks many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from coprop_plugin.world import Scene, SceneObject


def scene_object(kind, events, centre, seed=1):
    return SceneObject(
        kind=kind,
        seed=seed,
        events=events,
        radius=0.2,
        centre=centre,
        swing=(0.05, 0.05),
        tempo=(0.1, 0.1),
    )


@pytest.fixture(scope="session")
def scene():
    """Six seconds: a flute, then a drum, then nothing, then both."""
    flute = scene_object(4, ((0.0, 2.0), (5.0, 6.0)), (0.3, 0.5), seed=1)
    drum = scene_object(2, ((2.0, 4.0), (5.0, 6.0)), (0.7, 0.5), seed=2)
    return Scene((flute, drum), duration_s=6.0, size=(48, 64), seed=3)


@pytest.fixture(scope="session")
def clip(scene):
    """That scene at four frames a second."""
    return scene.clip(fps=4)
