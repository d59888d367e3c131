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

import coprop_plugin as coprop
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
PROVIDERS = [OWN, "novelty", "cosine", "every_n"]
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


def segment(
    video, model, provider, fps, on_progress=lambda share, step: None, max_work_s=MAX_WORK_S
):
    """Return a summary line, the path of the overlay video, the report, and words to edit.

    The words and boxes of each segment are JSON, "" where the model names nothing. `provider` is
    one of `PROVIDERS`, or control points. Reports its progress.
    """
    until = time.monotonic() + max_work_s

    def hook(step, artifact, done, total):
        if time.monotonic() > until:
            raise TooMuchWork(
                f"The clip takes more than {max_work_s} s. Choose fewer frames a second, or a "
                "shorter clip."
            )
        if step in STEPS:
            on_progress(done / total, STEPS[step])

    with tempfile.TemporaryDirectory(prefix="coprop-") as folder:
        result_folder = Path(folder) / "result"
        points = None if isinstance(provider, str) and provider == OWN else provider
        wrapped = coprop.wrap(**MODELS[model], control_points=points)
        result = wrapped.segment(video, fps=fps, hook=hook)
        result.save(result_folder)
        report = write_report(result_folder, video=video)
        page = report.path.read_text(encoding="utf-8")
        overlay = shutil.move(result_folder / "overlay.mp4", new_overlay())
    starts = ", ".join(f"{s:.2f}" for s in result.times[result.control_points.indices].tolist())
    summary = f"{len(result.masks)} frames; control points at {starts} s"
    return summary, str(overlay), FRAME.format(escape(page)), editable(result.control_points)


def editable(points):
    """Return named control points as JSON without their log; "" if nothing is named."""
    content = {k: v for k, v in points.to_dict().items() if k not in ("log", "flags")}
    return json.dumps(content, indent=1) if points.sounds else ""


def segment_again(video, model, text, fps, *options):
    """Segment with edited words and boxes: what sounds is not listened for again."""
    try:
        points = coprop.ControlPoints.from_dict(json.loads(text))
    except ValueError as error:
        raise coprop.CopropError(f"The edited words cannot be read: {error}") from error
    return segment(video, model, points, fps, *options)


def new_overlay():
    """Return a path for an overlay video, and delete those of the last hours."""
    folder = Path(tempfile.gettempdir()) / "coprop-overlays"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.mp4"):
        if time.time() - old.stat().st_mtime > KEPT_S:
            old.unlink(missing_ok=True)
    return folder / f"{uuid.uuid4().hex}.mp4"


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

    def run_again(video, model, text, fps, progress=gr.Progress()):  # noqa: B008
        return work(segment_again, video, model, text, fps, progress=progress)

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
        report = gr.HTML()
        shown = [summary, overlay, report, words]
        button.click(run, [video, model, provider, fps], shown)
        again.click(run_again, [video, model, words, fps], shown)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


if __name__ == "__main__":
    build().launch(max_file_size=MAX_FILE)
