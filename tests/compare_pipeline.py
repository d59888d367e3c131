"""Do two versions of the pipeline give the same masks? Record with one, compare with the other.

    python tests/compare_pipeline.py record old.npz      # in a checkout of the older version
    python tests/compare_pipeline.py compare old.npz     # in this one

Every way through the pipeline is run on made-up scenes: plain, several segments at once, several
candidates (propagated both ways), streams in small windows, the drop-in calls of three families,
redo, and a model of more classes than the propagator has objects. A resumed run equals an
uninterrupted one by `tests/test_batch_resume.py`. Floats may differ by 1e-6, all else by nothing.
"""

import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import stand_ins
import torch

from coprop_plugin import media, wrap
from coprop_plugin.world import Scene, SceneObject, TruthBackend

FPS, SIZE = 4, (48, 64)
TOLERANCE = 1e-6


def made_up_scene(duration_s=14.0):
    """A flute, then a drum, silence, both, then a long steady flute."""

    def thing(kind, events, centre, seed):
        return SceneObject(kind, seed, events, 0.2, centre, (0.05, 0.05), (0.1, 0.1))

    flute = thing(4, ((0.0, 2.0), (5.0, 6.0), (7.0, 14.0)), (0.3, 0.5), 1)
    drum = thing(2, ((2.0, 4.0), (5.0, 6.0)), (0.7, 0.5), 2)
    return Scene((flute, drum), duration_s=duration_s, size=SIZE, seed=3)


def loud_and_bright(frames, audio):
    """A model whose logits depend on the picture and on the sound."""
    loud = audio.abs().mean(1)[:, None, None, None]
    return (frames.mean(1, keepdim=True) - 0.45 + loud) * 12


def many_classes(frames, audio):
    """Fourteen classes in stripes: more than the propagator has identities."""
    loud = audio.abs().mean(1)[:, None, None, None]
    columns = torch.arange(frames.shape[-1]) * 14 // frames.shape[-1]
    stripes = (columns == torch.arange(14)[:, None]).float()[None, :, None, :]
    return stripes * (4 + loud) + frames.mean(1, keepdim=True)


class Unreliable(TruthBackend):
    """The truth, but empty or shifted on some frames, so that candidates disagree."""

    def segment_keyframes(self, clip, indices):
        rows = super().segment_keyframes(clip, indices).clone()
        for row, time_s in zip(rows, clip.times[list(indices)].tolist(), strict=True):
            if int(time_s * FPS) % 5 == 0:
                row.copy_(row.roll((13, 21), (-2, -1)))
        return rows


def small_windows(model):
    """Let a model read videos in windows of about a second with half a second of context."""
    try:
        from coprop_plugin.pipeline import WindowLimits
    except ImportError:  # the version before the pipeline had a room of its own
        windows = importlib.import_module("coprop_plugin.windows")
        windows.FRAMES_BYTES, windows.CONTEXT_S = 1, 0.5
    else:
        model.window_limits = WindowLimits(frames_bytes=1, context_s=0.5)
    return model


def usual_windows():
    """Undo `small_windows` where it is a constant."""
    try:
        windows = importlib.import_module("coprop_plugin.windows")
    except ImportError:
        return
    windows.FRAMES_BYTES, windows.CONTEXT_S = 32 * 2**20, 5.0


def arrays_of(name, points, results):
    """Flatten what came out into named arrays."""
    return {
        f"{name}/flags": np.asarray(points.flags),
        f"{name}/masks": np.stack([r.mask.numpy() for r in results]),
        f"{name}/probs": np.stack([r.probs.numpy() for r in results]),
        f"{name}/keyframes": np.array([r.is_keyframe for r in results]),
    }


def segmented(name, model, clip):
    """The arrays of `segment`."""
    result = model.segment(clip)
    return arrays_of(name, result.control_points, result.frame_results)


def streamed(name, model, video):
    """The arrays of `stream`."""
    seen = {}

    def hook(step, artifact, done, total):
        if step == "control_points":
            seen["points"] = artifact

    frames = list(model.stream(video, fps=FPS, hook=hook))
    return arrays_of(name, seen["points"], frames)


# Explicit, as versions differ in their default.
PLAIN = dict(reanchor=None)
CANDIDATES = {
    "auto": dict(reanchor="auto"),
    "confident": dict(keyframe="confident"),
    "uncertain": dict(reanchor="uncertain"),
    "both": dict(keyframe="confident", reanchor="uncertain"),
    "seconds": dict(reanchor=1.0),
}


def offline(scene):
    """Every option of `segment`, with a propagator of no weights and with the default."""
    clip = scene.clip(fps=FPS)
    for label in ("flow", "default"):
        propagator = learned() if label == "default" else label

        def model(backend, propagator=propagator, **options):
            return wrap(backend, propagator=propagator, **PLAIN | options)

        yield segmented(f"plain/{label}", model(loud_backend()), clip)
        yield segmented(f"semantic/{label}", model(TruthBackend(scene, semantic=True)), clip)
        yield segmented(f"batch/{label}", model(TruthBackend(scene), segment_batch=3), clip)
        for name, options in CANDIDATES.items():
            yield segmented(f"{name}/{label}", model(Unreliable(scene), **options), clip)
    yield segmented("paper", wrap(TruthBackend(scene), preset="paper"), clip)
    many = wrap(many_classes_backend(), propagator=learned(), **PLAIN)
    yield segmented("many_classes", many, scene.clip(fps=FPS)[:24])


def learned():
    """The Audio-Insert Propagator that ships; it was the default once."""
    from coprop_plugin.registry import list_propagators

    return "learned" if "appearance" in list_propagators() else None


def loud_backend():
    """The binary function as a backend."""
    from coprop_plugin.adapters import CallableBackend

    return CallableBackend(loud_and_bright)


def many_classes_backend():
    """The function of fourteen classes as a backend."""
    from coprop_plugin.adapters import CallableBackend

    return CallableBackend(many_classes, num_classes=14)


def streams(scene, video):
    """`stream`, in windows of the usual size and in small ones."""
    for small in (False, True):
        for name, options in {"plain": {}, "batch": dict(segment_batch=3), **CANDIDATES}.items():
            model = wrap(Unreliable(scene), propagator="flow", **PLAIN | options)
            model = small_windows(model) if small else model
            yield streamed(f"stream/{name}/{'small' if small else 'usual'}", model, video)
            usual_windows()


def drop_in():
    """The wrapped models' own calls, plain and with candidates, of three families."""
    torch.manual_seed(0)
    frames, mel = torch.rand(10, 3, 64, 64), torch.rand(10, 1, 96, 64)
    feature = torch.rand(10, 128)
    nested = stand_ins.NestedTensor(torch.rand(5, 2, 3, 64, 64), torch.zeros(5, 2, 64, 64).bool())
    calls = {
        "avsegformer": (stand_ins.AVSegFormer(), (mel, frames)),
        "tpavi": (stand_ins.TPAVI(), (frames, feature)),
        "tpavi_semantic": (stand_ins.TPAVISemantic(), (frames, feature, torch.ones(10))),
        "catr": (
            stand_ins.CATR(),
            (nested, torch.zeros(2, 5), nested.tensors.flatten(0, 1), feature),
        ),
    }
    for name, (model, args) in calls.items():
        balance(model, args)
        for label, options in {"plain": PLAIN, "confident": dict(keyframe="confident")}.items():
            wrapped = wrap(
                model, control_points=dict(type="every_n", n=3), propagator="flow", **options
            )
            said = tensors(wrapped(*args))
            yield {f"drop_in/{name}/{label}/{k}": v.numpy() for k, v in enumerate(said)}


@torch.no_grad()
def balance(model, args):
    """Shift a binary model's last bias, so that half of the pixels are inside its masks."""
    last = [m for m in model.modules() if getattr(m, "out_channels", None) == 1]
    logits = wrap(model, control_points=dict(type="every_n", n=1), propagator="hold").eval()(*args)
    if last and not isinstance(logits, dict):
        last[-1].bias -= logits[0].median()


def tensors(tree):
    """Every tensor of a return value, in order."""
    if isinstance(tree, torch.Tensor):
        return [tree.detach()]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [t for each in tree for t in tensors(each)] if isinstance(tree, (list, tuple)) else []


def redone(scene, video, folder):
    """A run, an edit of its control points, a painted mask, and what `redo` makes of both."""
    from PIL import Image

    try:
        from coprop_plugin.pipeline.redo import redo
    except ImportError:
        from coprop_plugin.redo import redo
    for name, options in {"plain": PLAIN, "confident": dict(keyframe="confident")}.items():
        model = wrap(TruthBackend(scene), propagator="flow", **options)
        run = model.segment(video, fps=FPS).save(folder / f"run_{name}", overlay=False)
        mask = run / "masks" / "00020.png"
        with Image.open(mask) as picture:
            picture.load()
        painted = picture.copy()
        painted.paste(1, (8, 4, 30, 20))
        painted.save(mask)
        points = folder / f"{name}.json"
        points.write_text(str([int(t in (0, 8, 13, 16, 20, 24, 28)) for t in range(14 * FPS)]))
        redo(model, video, run, folder / f"redone_{name}", points=points, fps=FPS, overlay=False)
        for part in ("masks", "probs"):
            pictures = sorted((folder / f"redone_{name}" / part).glob("*.png"))
            yield {f"redo/{name}/{part}": np.stack([np.array(Image.open(p)) for p in pictures])}


def everything():
    """Run all of it; returns arrays by name."""
    scene, made = made_up_scene(), {}
    with tempfile.TemporaryDirectory() as folder:
        video = media.write_clip(scene.clip(fps=FPS), Path(folder) / "scene.mp4")
        for part in (
            offline(scene), streams(scene, video), drop_in(), redone(scene, video, Path(folder))
        ):  # fmt: skip
            for arrays in part:
                made.update(arrays)
    return made


def compare(old, new):
    """Return one line for each array that differs."""
    wrong = [f"{name}: only in one" for name in sorted(old.keys() ^ new.keys())]
    for name in sorted(old.keys() & new.keys()):
        a, b = old[name], new[name]
        if a.shape != b.shape:
            wrong.append(f"{name}: {a.shape} was, {b.shape} is")
        elif a.dtype.kind == "f":
            apart = float(np.abs(a - b).max(initial=0))
            if apart > TOLERANCE:
                wrong.append(f"{name}: {apart:.2e} apart")
        elif not np.array_equal(a, b):
            wrong.append(f"{name}: {float((a != b).mean()):.2%} of the values differ")
    return wrong


def main(command, file):
    """Record or compare; returns the exit code."""
    torch.set_num_threads(1)
    if command == "record":
        np.savez_compressed(file, **everything())
        return 0
    old, new = dict(np.load(file)), everything()
    wrong = compare(old, new)
    print("\n".join(wrong) or f"{len(new)} arrays, all the same")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
