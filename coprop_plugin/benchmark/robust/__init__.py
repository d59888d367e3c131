"""AVSBench-Robust (Li et al., arXiv:2502.00358): do masks go when their sound is another?

`RobustSamples` gives any clips silence, noise and off-screen sounds; `plug_and_play` scores them.
"""

from coprop_plugin.benchmark.robust.off_screen import OffScreen, off_screen_of
from coprop_plugin.benchmark.robust.robust_samples import CONDITIONS, RobustSamples
from coprop_plugin.benchmark.robust.robust_scores import harmonic, robust_scores
from coprop_plugin.benchmark.robust.write_robust import write_robust

__all__ = [
    "CONDITIONS",
    "OffScreen",
    "RobustSamples",
    "harmonic",
    "off_screen_of",
    "robust_scores",
    "write_robust",
]
