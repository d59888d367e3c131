"""A page to try Co-Prop on: upload a clip, pick model and provider, watch it work, see the report.

pip install "coprop-plugin[ui]"; python examples/app.py. On a hosted Space: docs/app.md.
"""

import os
import tempfile
from html import escape
from pathlib import Path

import coprop_plugin as coprop
from coprop_plugin.report import write_report

# Strangers upload here: two minutes, in pictures of 1080p at most.
os.environ.setdefault("COPROP_MAX_DURATION_S", "120")
os.environ.setdefault("COPROP_MAX_PIXELS", str(1920 * 1080))
PROVIDERS = ["novelty", "cosine", "every_n"]
STEPS = {"keyframes": "Asking the model", "propagation": "Carrying masks"}
# Apart from the page around it, whatever a file says of itself.
FRAME = '<iframe sandbox="allow-scripts" style="width:100%;height:60rem" srcdoc="{}"></iframe>'


def bright(frames, audio):
    return frames.mean(1, keepdim=True) - 0.5


# The arguments of `wrap`; yours here, dict(model="avsegformer", weights="MS3_best.pth") say.
MODELS = {
    "keyframe processor (knows the synthetic world)": dict(model="keyframe_processor"),
    "what is bright (a toy)": dict(model=bright, backend="callable"),
}


def segment(video, model, provider, fps, told=lambda share, step: None):
    """Return one line, the painted video and the report; `told` hears how far it is."""
    folder = Path(tempfile.mkdtemp(prefix="coprop-")) / "result"

    def hook(step, artifact, done, total):
        if step in STEPS:
            told(done / total, STEPS[step])

    wrapped = coprop.wrap(**MODELS[model], control_points=provider)
    result = wrapped.segment(video, fps=fps, hook=hook)
    result.save(folder)
    report = write_report(folder, video=video)
    starts = ", ".join(f"{s:.2f}" for s in result.times[result.control_points.indices].tolist())
    says = f"{len(result.masks)} frames; what sounds changes at {starts} s"
    page = report.path.read_text(encoding="utf-8")
    return says, str(folder / "overlay.mp4"), FRAME.format(escape(page))


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
        gr.Markdown("# Co-Prop\nPaints what makes the sound, in time with the sound.")
        with gr.Row():
            video = gr.Video(label="A clip with sound")
            painted = gr.Video(label="What sounds", interactive=False)
        with gr.Row():
            model = gr.Dropdown([*MODELS], label="Model")
            provider = gr.Dropdown(PROVIDERS, label="Control points")
            fps = gr.Slider(1, 8, 4, step=1, label="Frames a second")
        button = gr.Button("Segment", variant="primary")
        says = gr.Textbox(label="Found", interactive=False)
        report = gr.HTML()
        button.click(run, [video, model, provider, fps], [says, painted, report])
    return page


if __name__ == "__main__":
    build().launch()
