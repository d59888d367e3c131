"""Web app for Co-Prop: upload a clip, choose a model and a provider, see the masks and the report.

pip install "coprop-plugin[ui]"; python examples/app.py. On a hosted Space: docs/app.md.
"""

import json
import os
import re
import shutil
import tempfile
import time
import uuid
from html import escape
from pathlib import Path
from typing import NamedTuple

import coprop_plugin as coprop
from coprop_plugin.pipeline import redo
from coprop_plugin.pipeline.preset_costs import PRESET_COSTS
from coprop_plugin.report import write_report

# Limits on untrusted uploads: two minutes, 1080p, 200 MB, five minutes of work, 20 waiting.
os.environ.setdefault("COPROP_MAX_DURATION_S", "120")
os.environ.setdefault("COPROP_MAX_PIXELS", str(1920 * 1080))
MAX_FILE = "200mb"
MAX_WORK_S = 300
MAX_WAITING = 20
KEPT_S = 3600
LIMITS = (
    f"Clips of up to {int(os.environ['COPROP_MAX_DURATION_S']) // 60} minutes, 1080p and "
    f"{MAX_FILE}. A clip gets up to {MAX_WORK_S // 60} minutes of work; one is in work at a time, "
    f"{MAX_WAITING} can wait. Uploads and results are deleted after an hour."
)
OWN = "the model's own"
PROVIDERS = [OWN, "change_detector", "novelty", "cosine", "every_n"]
# Presets whose models visitors may choose, e.g. "fast,balanced": the first one who does waits for
# the download.
PRESETS = [name for name in os.environ.get("COPROP_APP_PRESETS", "").split(",") if name]
STEPS = {"keyframes": "Running the model", "propagation": "Propagating masks"}
# The sandbox isolates the report, which shows text from the uploaded file.
FRAME = '<iframe sandbox="allow-scripts" style="width:100%;height:60rem" srcdoc="{}"></iframe>'


def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5


# Arguments of `wrap`. Add yours, e.g. dict(model="avsegformer", weights="MS3_best.pth").
MODELS = {
    "keyframe processor (trained on synthetic scenes)": dict(model="keyframe_processor"),
    "bright pixels (a toy)": dict(model=bright, backend="callable"),
    "salient object, while there is sound": dict(preset="offline"),
    **{
        f"{cost.name}: {cost.title}": dict(preset=cost.name)
        for cost in PRESET_COSTS
        if cost.name in PRESETS
    },
}


class TooMuchWork(coprop.CopropError):
    """A clip that takes longer than a visitor may wait."""


class Run(NamedTuple):
    """A run that named what sounds, kept so that an edit computes only what it changes."""

    folder: Path
    video: str
    model: str
    fps: float


def segment(
    video, model, provider, fps, on_progress=lambda share, step: None, max_work_s=MAX_WORK_S
):
    """Return a summary line, the path of the overlay video, the report, words to edit, the run.

    The words and boxes of each segment are JSON, "" where the model names nothing; then no run is
    kept. `provider` is one of `PROVIDERS`, or control points. Reports its progress.
    """
    with tempfile.TemporaryDirectory(prefix="coprop-") as folder:
        points = None if isinstance(provider, str) and provider == OWN else provider
        wrapped = coprop.wrap(**MODELS[model], control_points=points)
        hook = limited(on_progress, max_work_s)
        result = wrapped.segment(video, fps=fps, hook=hook)
        result.save(Path(folder) / "result")
        run = Run(Path(folder) / "result", str(video), model, fps)
        return shown(run, result.control_points, result.times.tolist())


def segment_again(
    video,
    model,
    text,
    fps,
    run=None,
    on_progress=lambda share, step: None,
    max_work_s=MAX_WORK_S,
):
    """Segment with edited words and boxes: only segments in which they differ are computed again.

    If `run` is no longer there, or of another video, model or frame rate, all of them are; what
    sounds is not listened for again.
    """
    try:
        points = coprop.ControlPoints.from_dict(json.loads(text))
    except ValueError as error:
        raise coprop.CopropError(f"The edited words cannot be read: {error}") from error
    if run is None or run[1:] != (str(video), model, fps) or not run.folder.is_dir():
        return segment(video, model, points, fps, on_progress, max_work_s)
    with tempfile.TemporaryDirectory(prefix="coprop-") as folder:
        redone = redo(
            coprop.wrap(**MODELS[model]),
            video,
            run.folder,
            Path(folder) / "result",
            points=points,
            fps=fps,
            hook=limited(on_progress, max_work_s),
        )
        new = run._replace(folder=redone.folder)
        return shown(new, redone.control_points, redone.times.tolist())


def limited(on_progress, max_work_s):
    """Return a hook that reports progress, and ends what takes too long."""
    until = time.monotonic() + max_work_s

    def hook(step, artifact, done, total):
        if time.monotonic() > until:
            raise TooMuchWork(
                f"The clip takes more than {max_work_s} s. Choose fewer frames a second, or a "
                "shorter clip."
            )
        if step in STEPS:
            on_progress(done / total, STEPS[step])

    return hook


def shown(run, points, times):
    """Return what the page shows of a result; its folder is kept if it can be edited."""
    report = write_report(run.folder, video=run.video)
    page = report.path.read_text(encoding="utf-8")
    name = kept_folder() / uuid.uuid4().hex
    overlay = shutil.move(run.folder / "overlay.mp4", name.with_suffix(".mp4"))
    words = editable(points)
    kept = run._replace(folder=Path(shutil.move(run.folder, name))) if words else None
    starts = ", ".join(f"{times[t]:.2f}" for t in points.indices)
    summary = f"{len(times)} frames; control points at {starts} s"
    return summary, str(overlay), FRAME.format(escape(page)), words, kept


def editable(points):
    """Return named control points as JSON without their log; "" if nothing is named."""
    content = {k: v for k, v in points.to_dict().items() if k not in ("log", "flags")}
    return json.dumps(content, indent=1) if points.sounds else ""


def kept_folder():
    """Return the folder of overlay videos and kept runs, without those of the last hours."""
    folder = Path(tempfile.gettempdir()) / "coprop-overlays"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    return folder


def without_paths(text, video):
    """Return a message with names of files in place of the server's paths."""
    text = text.replace(str(video), Path(video).name)
    return re.sub(r"(?:[A-Za-z]:)?(?:[/\\][\w.+~-]+)+[/\\]([\w.+~-]+)", r"\1", text)


def build():
    import gradio as gr

    def work(function, video, *options, progress):
        if video is None:
            raise gr.Error("Upload a clip first.")
        try:
            return function(video, *options, lambda *so_far: progress(*so_far))
        except coprop.CopropError as error:
            raise gr.Error(without_paths(str(error), video)) from error

    def run(video, model, provider, fps, progress=gr.Progress()):  # noqa: B008
        return work(segment, video, model, provider, fps, progress=progress)

    def run_again(video, model, text, fps, kept, progress=gr.Progress()):  # noqa: B008
        return work(segment_again, video, model, text, fps, kept, progress=progress)

    # The cache has uploads and copies of results: every ten minutes, those of an hour ago go.
    with gr.Blocks(title="Co-Prop", delete_cache=(600, KEPT_S)) as page:
        gr.Markdown(
            "# Co-Prop\nMasks of the sounding objects, aligned with the sound.\n\n" + LIMITS
        )
        with gr.Row():
            video = gr.Video(label="Clip with sound")
            overlay = gr.Video(label="Sounding objects", interactive=False)
        with gr.Row():
            model = gr.Dropdown([*MODELS], label="Model")
            provider = gr.Dropdown(PROVIDERS, label="Control points")
            fps = gr.Slider(1, 8, 4, step=1, label="Frames a second")
        button = gr.Button("Segment", variant="primary")
        summary = gr.Textbox(label="Summary", interactive=False)
        with gr.Accordion("Words and boxes", open=False):
            words = gr.Textbox(
                label="What sounds in each segment, by its first frame; add boxes as "
                '"boxes": {"0": {"dog": [[left, top, right, bottom]]}}',
                lines=8,
            )
            again = gr.Button("Segment with these")
        report, kept = gr.HTML(), gr.State()
        outputs = [summary, overlay, report, words, kept]
        button.click(run, [video, model, provider, fps], outputs)
        again.click(run_again, [video, model, words, fps, kept], outputs)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


if __name__ == "__main__":
    build().launch(max_file_size=MAX_FILE)
