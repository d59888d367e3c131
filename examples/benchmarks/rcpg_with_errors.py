"""RCPG with a scripted language model of known errors, against cosine and 3-step, on exact truth.

    python examples/benchmarks/rcpg_with_errors.py data --clips 20

The clips are synthetic scenes in AVSS's layout (`examples/data/synthetic_avsbench.py`), with their
class labels; keyframes and propagation are by the weights that ship. The scripted model answers the
truth with errors: of the true points 10 % are missed and 10 % are a frame early or late, and there
are 10 % false ones. It does not read the examples, so that 3-step and RCPG differ in which clips
have errors only: what examples are worth, no script can say.
"""

import argparse
import runpy
from pathlib import Path

from coprop_plugin.benchmark.datasets import AVSS
from coprop_plugin.benchmark.example_store import index_into
from coprop_plugin.benchmark.plug_and_play import plug_and_play
from coprop_plugin.benchmark.scripted_llm import ErrorRates, ScriptedLLM
from coprop_plugin.control_points.llm import CallableAudioLLM
from coprop_plugin.control_points.strategies import RCPGProvider, ThreeStepProvider
from coprop_plugin.keyframes import load_keyframe_processor

SCORES = {"class_mIoU": "mIoU", "M_J": "M_J", "M_F": "M_F", "AR": "AR", "F1@0": "points F1"}


def scripted(samples: AVSS, rates: ErrorRates, seed: int) -> CallableAudioLLM:
    """Return a language model that answers the truth of clips with errors."""
    categories = {
        sample.id: [samples.classes[i] for i in sample.masks.unique().tolist() if i]
        for sample in samples
    }
    listener = ScriptedLLM(samples, rates, 1000 * seed, categories)
    return CallableAudioLLM(listener, f"scripted: {rates}", settings={"seed": seed})


def main() -> None:
    """Make the clips and the store, run the rows, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--clips", type=int, default=20, help="test clips of each subset")
    parser.add_argument("--size", type=int, nargs=2, default=(112, 160))
    options = parser.parse_args()
    here = Path(__file__).resolve().parent.parent
    script = runpy.run_path(str(here / "data" / "synthetic_avsbench.py"))
    counts = {"train": options.clips, "val": 1, "test": options.clips}
    folder = script["write_avsbench"](options.data, counts, tuple(options.size))["AVSS"]
    store = index_into(options.data / "store.jsonl", str(folder)).store
    samples = AVSS(folder, "test")
    errors = ErrorRates(0.1, 0.1, 0.1)
    providers = {
        "three_step": ThreeStepProvider(scripted(samples, errors, 1)),
        "rcpg": RCPGProvider(scripted(samples, errors, 2), store),
        "rcpg-no-errors": RCPGProvider(scripted(samples, ErrorRates(), 0), store),
    }
    rows = [f"{points}+learned" for points in ("cosine", "novelty", *providers, "oracle")]
    report = plug_and_play(
        {"AVSS": samples},
        {"keyframes": load_keyframe_processor()},
        rows,
        providers=providers,
        out=options.data / "records",
        progress=True,
    )
    print(f"| row | {' | '.join(SCORES.values())} |\n| --- {'| --- ' * len(SCORES)}|")
    for row in rows:
        scores = report.scores("keyframes", row)
        print(f"| `{row}` | {' | '.join(f'{scores[name]:.3f}' for name in SCORES)} |")


if __name__ == "__main__":
    main()
