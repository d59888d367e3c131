"""Web app for Co-Prop: upload a clip, choose a model and a provider, see the masks and the report.

pip install "coprop-plugin[ui]"; python examples/app.py. On a hosted Space: docs/app.md.
"""

import os
import tempfile
from html import escape
from pathlib import Path

import coprop_plugin as coprop
from coprop_plugin.report import write_report

# Limits on untrusted uploads: two minutes, 1080p.
os.environ.setdefault("COPROP_MAX_DURATION_S", "120")
os.environ.setdefault("COPROP_MAX_PIXELS", str(1920 * 1080))
PROVIDERS = ["novelty", "cosine", "every_n"]
STEPS = {"keyframes": "Running the model", "propagation": "Propagating masks"}
# The sandbox isolates the report, which shows text from the uploaded file.
FRAME = '<iframe sandbox="allow-scripts" style="width:100%;height:60rem" srcdoc="{}"></iframe>'


def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5


# Arguments of `wrap`. Add yours, e.g. dict(model="avsegformer", weights="MS3_best.pth").
MODELS = {
    "keyframe processor (trained on synthetic scenes)": dict(model="keyframe_processor"),
    "bright pixels (a toy)": dict(model=bright, backend="callable"),
}


def segment(video, model, provider, fps, on_progress=lambda share, step: None):
    """Return a summary line, the path of the overlay video and the report; reports its progress."""
    folder = Path(tempfile.mkdtemp(prefix="coprop-")) / "result"

    def hook(step, artifact, done, total):
        if step in STEPS:
            on_progress(done / total, STEPS[step])

    wrapped = coprop.wrap(**MODELS[model], control_points=provider)
    result = wrapped.segment(video, fps=fps, hook=hook)
    result.save(folder)
    report = write_report(folder, video=video)
    starts = ", ".join(f"{s:.2f}" for s in result.times[result.control_points.indices].tolist())
    summary = f"{len(result.masks)} frames; control points at {starts} s"
    page = report.path.read_text(encoding="utf-8")
    return summary, str(folder / "overlay.mp4"), FRAME.format(escape(page))


def build():
    import gradio as gr

    def run(video, model, provider, fps, progress=gr.Progress()):  # noqa: B008
        if video is None:
            raise gr.Error("Upload a clip first.")
        try:
            return segment(video, model, provider, fps, lambda *so_far: progress(*so_far))
        except coprop.CopropError as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title="Co-Prop") as page:
        gr.Markdown("# Co-Prop\nMasks of the sounding objects, aligned with the sound.")
        with gr.Row():
            video = gr.Video(label="Clip with sound")
            overlay = gr.Video(label="Sounding objects", interactive=False)
        with gr.Row():
            model = gr.Dropdown([*MODELS], label="Model")
            provider = gr.Dropdown(PROVIDERS, label="Control points")
            fps = gr.Slider(1, 8, 4, step=1, label="Frames a second")
        button = gr.Button("Segment", variant="primary")
        summary = gr.Textbox(label="Summary", interactive=False)
        report = gr.HTML()
        button.click(run, [video, model, provider, fps], [summary, overlay, report])
    return page


if __name__ == "__main__":
    build().launch()
