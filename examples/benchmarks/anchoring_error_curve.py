"""Required accuracy of control points: M_J against errors added to the true ones.

    python examples/benchmarks/anchoring_error_curve.py --scenes 30 --out anchoring_error

Test scenes of the synthetic world, 10 frames each, one a second. Of the true control points some
are left out, false ones are added, or they are moved by a frame; the keyframes they name get the
true mask of that very frame, and a propagator propagates it through the segment. So every
loss is due to timing; a false control point costs a call of the model, and helps here, because the
model is always right. M_J is AVSBench's: mean over frames of intersection over union, and where
the truth is empty the share of pixels that the prediction leaves empty. Each rate is drawn several
times; the spread is the standard deviation of those draws. Writes OUT.json, OUT.csv and OUT.png.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch

from coprop_plugin.benchmark import ErrorRates, WorldOptions, WorldSamples
from coprop_plugin.benchmark.metrics import frame_ious, matched_control_points
from coprop_plugin.benchmark.scripted_llm import with_errors
from coprop_plugin.pipeline import MaskLogits, Segment, propagate_batch
from coprop_plugin.propagation import as_propagator
from coprop_plugin.types import ControlPoints

KINDS = ("misses", "extras", "shifts")


@torch.no_grad()
def propagated(propagator, sample, points):
    """Propagate the true masks of keyframes; returns `[T, H, W]` bool."""
    clip, classes, sound = sample.clip, sample.num_classes, propagator.hear(sample.clip)
    segments = []
    for frames in points.segments:
        logits = torch.nn.functional.one_hot(sample.masks[frames.start], classes)
        keyframe = MaskLogits.of_keyframe(20.0 * logits.movedim(-1, 0))
        segments.append(Segment(clip, frames, sound, keyframe))
    rows = propagate_batch(propagator, classes, segments, at_once=1)
    return torch.stack([masks.mask > 0 for row in rows for masks in row])


def score(propagator, samples, rates, seed):
    """Return M_J, F1 of the control points, and keyframes a clip."""
    rng = np.random.default_rng(seed)
    ious, keyframes, pairs, proposed, true = [], 0, 0, 0, 0
    for sample in samples:
        flags = with_errors(sample.control_points.flags.int().tolist(), rates, rng)
        points = ControlPoints(flags)
        found = propagated(propagator, sample, points)
        ious.append(frame_ious(found.float(), sample.masks > 0))
        keyframes += len(points)
        counts = matched_control_points(points, sample.control_points)
        pairs, proposed, true = pairs + counts[0], proposed + counts[1], true + counts[2]
    f1 = 2 * pairs / max(1, proposed + true)
    return float(torch.cat(ious).mean()), f1, keyframes / len(samples)


def measured(names, samples, rates, draws):
    rows = []
    for name in names:
        propagator = as_propagator(name)
        # Without errors all kinds and draws are one.
        faultless = score(propagator, samples, ErrorRates(), 0)
        for kind in KINDS:
            for rate in rates:
                errors = ErrorRates(**{kind: rate})
                scores = [faultless]
                if rate:
                    scores = [score(propagator, samples, errors, seed) for seed in range(draws)]
                m_j, f1, keyframes = np.mean(scores, axis=0)
                rows.append(
                    {
                        "propagator": name,
                        "error": kind,
                        "rate": rate,
                        "M_J": round(float(m_j), 4),
                        "spread": round(float(np.std([s[0] for s in scores])), 4),
                        "F1": round(float(f1), 4),
                        "keyframes_a_clip": round(float(keyframes), 2),
                    }
                )
                print(
                    "{propagator:6} {error:7} {rate:.2f}  M_J {M_J:.3f}  F1 {F1:.3f}".format(
                        **rows[-1]
                    )
                )
    return rows


def plot(rows, path):
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["propagator"] for row in rows))
    figure, panels = pyplot.subplots(1, len(KINDS), figsize=(9, 3), sharey=True, squeeze=False)
    for panel, kind in zip(panels[0], KINDS, strict=True):
        for name, style in zip(names, ("o-", "s--", "^:", "d-."), strict=False):
            chosen = [row for row in rows if (row["propagator"], row["error"]) == (name, kind)]
            columns = ([row[key] for row in chosen] for key in ("rate", "M_J", "spread"))
            rate, m_j, spread = columns
            panel.errorbar(rate, m_j, spread, fmt=style, markersize=4, capsize=2, label=name)
        panel.set_xlabel(f"{kind}, of true control points")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("M_J")
    panels[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 160))
    parser.add_argument("--propagators", default="hold,flow")
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 0.1, 0.25, 0.5, 1.0])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("anchoring_error"))
    arguments = parser.parse_args()

    options = WorldOptions(tuple(arguments.size), arguments.frames)
    samples = list(WorldSamples(arguments.scenes, options=options))
    rows = measured(arguments.propagators.split(","), samples, arguments.rates, arguments.draws)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    about = {key: str(value) for key, value in vars(arguments).items() if key != "out"}
    arguments.out.with_suffix(".json").write_text(
        json.dumps({"options": about, "rows": rows}, indent=1) + "\n"
    )
    with arguments.out.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
