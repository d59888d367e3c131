"""Many files, one after the other: what is done is skipped, what fails is listed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from coprop_plugin import media
from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.loading import load_backend, load_provider
from coprop_plugin.pipeline import CoProp
from coprop_plugin.progress import watched
from coprop_plugin.types import ControlPointProvider, ControlPoints, Sampling
from coprop_plugin.windows import stream_windows
from coprop_plugin.wrapping import wrap

VIDEO_SUFFIXES = frozenset(
    ".avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)


@dataclass(frozen=True)
class Options:
    """How to segment files, and what to write.

    Args:
        fps: Frames a second; None takes all.
        sampling: See `Clip.from_file`.
        overlay: Whether to write `overlay.mp4`.
        alpha: Whether to write `alpha/%05d.png`.
        redo: Whether to do finished inputs again.
        asked: What else decides the result: model, weights, provider, propagator. A finished
            input is done again if any of it differs.
    """

    fps: float | None = 1.0
    sampling: Sampling = "pts"
    overlay: bool = True
    alpha: bool = False
    redo: bool = False
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    input: Path
    status: Literal["done", "skipped", "failed"]
    output: Path | None = None
    num_frames: int | None = None
    control_points: ControlPoints | None = None
    seconds: tuple[float, ...] | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without what is not known."""
        content: dict[str, Any] = {
            "input": str(self.input),
            "status": self.status,
            "output": None if self.output is None else str(self.output),
            "num_frames": self.num_frames,
            "control_points_s": None if self.seconds is None else list(self.seconds),
            "control_points": self.control_points and self.control_points.to_dict(),
            "error": self.error,
        }
        return {key: value for key, value in content.items() if value is not None}

    def __str__(self) -> str:
        if self.status == "skipped":
            return f"{self.input} -> {self.output}  (finished before; --redo does it again)"
        seconds = ", ".join(f"{s:.2f}" for s in self.seconds or ())
        frames = "1 frame" if self.num_frames == 1 else f"{self.num_frames} frames"
        says = f"{frames}, control points at {seconds} s"
        return f"{self.input} -> {self.output}  {says}" if self.output else f"{self.input}  {says}"


def make_model(
    backend: str,
    weights: Path | None = None,
    control_points: str = "novelty",
    propagator: str | None = None,
    device: str | None = None,
    reanchor: float | None = None,
) -> CoProp:
    """Make the wrapped model that a command line asks for.

    Raises:
        CopropError: If any part is not to be had.
    """
    made, adapter = load_backend(backend, weights)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(made, torch.nn.Module):
        made = made.to(device).eval()
    return wrap(
        made,
        backend=adapter,
        control_points=load_provider(control_points),
        propagator=propagator,
        device=device,
        reanchor=reanchor,
    )


def find_inputs(paths: Sequence[Path]) -> list[Path]:
    """Return the files meant: files as they are, folders as the videos in them, sorted.

    Raises:
        MediaError: If a folder holds no video.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        videos = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if not videos:
            raise MediaError(
                f"Got the folder {path}, which holds no video (of {', '.join(VIDEO_SUFFIXES)}). "
                "Name the files themselves if they are called otherwise."
            )
        found += videos
    return found


def fingerprint(path: Path | None) -> str | None:
    """Return what tells that a file was changed: its path, size and time."""
    if path is None or not Path(path).exists():
        return None
    stat = Path(path).stat()
    return f"{Path(path).resolve()}:{stat.st_size}:{stat.st_mtime_ns}"


def run_many(
    model: CoProp, paths: Sequence[Path], out: Path, options: Options, progress: bool = False
) -> Iterator[Outcome]:
    """Segment files; yields what became of each, in order. One bad file does not stop the rest."""
    for path, folder in zip(paths, _folders(paths, out), strict=True):
        try:
            yield _run_one(model, path, folder, options, progress)
        except (CopropError, OSError) as error:
            yield Outcome(path, "failed", error=one_line(error))


def anchor_many(
    provider: ControlPointProvider,
    paths: Sequence[Path],
    out: Path | None,
    fps: float | None,
    sampling: Sampling,
) -> Iterator[Outcome]:
    """Find the control points of files; yields what became of each, in order."""
    folders = _folders(paths, out) if out else [None] * len(paths)
    for path, folder in zip(paths, folders, strict=True):
        try:
            sound, _ = stream_windows(path, fps, sampling)
            points = provider.propose(sound)
            target = None
            if folder is not None:
                target = folder.with_name(f"{folder.name}.json")
                media.write_text(target, json.dumps(points.to_dict(sound.times), indent=1))
            seconds = tuple(float(sound.times[i]) for i in points.indices)
            yield Outcome(path, "done", target, sound.num_frames, points, seconds)
        except (CopropError, OSError) as error:
            yield Outcome(path, "failed", error=one_line(error))


def _run_one(model: CoProp, path: Path, folder: Path, options: Options, progress: bool) -> Outcome:
    about = {
        "input": str(path.resolve()),
        "fingerprint": fingerprint(path),
        "options": {key: value for key, value in asdict(options).items() if key != "redo"},
    }
    before = media.read_about(folder)
    if before == about and not options.redo:
        return Outcome(path, "skipped", folder)
    if before is not None and before.get("input", about["input"]) != about["input"]:
        raise MediaError(
            f"{folder} holds the result of {before['input']}, which would be lost. Choose another "
            "--out."
        )
    writer = media.ResultWriter(
        folder,
        source=path,
        sampling=options.sampling,
        overlay=options.overlay,
        alpha=options.alpha,
        about=about,
    )

    def remember(step: str, artifact: Any, done: int, total: int) -> None:
        if step == "control_points":
            writer.control_points = artifact

    times: list[float] = []
    with watched(remember, progress, title=path.name) as hook, writer:
        for frame in model.stream(path, fps=options.fps, sampling=options.sampling, hook=hook):
            writer.write(frame)
            times.append(frame.time_s)
    points = writer.control_points
    return Outcome(
        path, "done", folder, len(times), points, tuple(times[i] for i in points.indices)
    )


def _folders(paths: Sequence[Path], out: Path) -> list[Path]:
    return [out / name for name in names_of(paths)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """Name inputs: their stem, their whole name where stems clash, numbered if those do.

    Example:
        >>> names_of([Path("a/x.mp4"), Path("b/x.mp4"), Path("y.mp4")])
        ['x.mp4', 'x.mp4-2', 'y']
    """
    stems = [path.stem for path in paths]
    names: list[str] = []
    for path, stem in zip(paths, stems, strict=True):
        name = stem if stems.count(stem) == 1 else path.name
        number = 2
        while name in names:
            name = f"{path.name}-{number}"
            number += 1
        names.append(name)
    return names


def one_line(error: BaseException) -> str:
    """Return what an error says in one line."""
    return " ".join(str(error).split())
