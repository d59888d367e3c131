"""What the examples run on with --tiny: stand-ins for released models, and a made-up clip."""

import sys
import tempfile
from pathlib import Path

from coprop_plugin import media
from coprop_plugin.world import Scene

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def video():
    """Write a made-up clip of five seconds, and return its path."""
    scene = Scene.made_up(seed=2, duration_s=5.0, size=(64, 96))
    return media.write_clip(scene.clip(fps=10), Path(tempfile.mkdtemp()) / "made_up.mp4")


def avsegformer():
    import stand_ins

    return stand_ins.AVSegFormer()


def tpavi():
    import stand_ins

    return stand_ins.TPAVI()


def catr():
    import stand_ins

    return stand_ins.CATR()


def vggish():
    import stand_ins

    return stand_ins.StandInVGGish()
