"""Draws the learning curves of training runs that are validated on the way.

    python examples/benchmarks/learning_curve.py runs/changes --out learning.png

A run is a work folder of `coprop train`. Its scores are in its logs; `--score` chooses one.
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--score", default="control_points/F1@1")
    parser.add_argument("--out", type=Path, default=Path("learning.png"))
    arguments = parser.parse_args()

    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for run in arguments.runs:
        curve = learning_curve(run, arguments.score)
        for step, score in curve.items():
            print(f"{run.name:16} step {step:6} {arguments.score} {score:.3f}")
        axes.plot(list(curve), list(curve.values()), "o-", markersize=3, label=run.name)
    axes.set(xlabel="step", ylabel=arguments.score)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(arguments.out, dpi=80)


def learning_curve(run: Path, score: str) -> dict[int, float]:
    """Return a score of the averaged weights by the step of a run, which may have been resumed."""
    curve = {}
    for log in sorted(run.glob("*/vis_data/scalars.json")):
        for line in log.read_text().splitlines():
            scalars = json.loads(line)
            if score in scalars:
                curve[scalars["step"]] = scalars[score]
    return dict(sorted(curve.items()))


if __name__ == "__main__":
    main()
