"""`coprop run --reuse`: redo a run after an edit, with the options that the run was made with."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coprop_plugin import media
from coprop_plugin.batch.extras import add_extras
from coprop_plugin.batch.inputs import fingerprint, names_of
from coprop_plugin.batch.load import make_model
from coprop_plugin.batch.manifest import Manifest
from coprop_plugin.batch.outcome import Outcome, failure
from coprop_plugin.batch.result_folders import about_before, described
from coprop_plugin.errors import MediaError
from coprop_plugin.pipeline import CoProp, redo
from coprop_plugin.types import Tracks


@dataclass(frozen=True)
class Reuse:
    """An earlier run and the options it was made with, except its control points.

    Args:
        run: Its results folder.
        about: The entry `about` of its `result.json`, as `coprop run` wrote it.
    """

    run: Path
    about: Mapping[str, Any]

    @classmethod
    def of(cls, run: Path, named: Mapping[str, Any]) -> "Reuse":
        """Read a run.

        Args:
            run: Its results folder.
            named: Options that were given explicitly; all of them must equal those of the run.

        Raises:
            MediaError: If the folder holds no result of `coprop run`, or an option differs.
        """
        about = media.PreviousResult.read(run).content.get("about") or {}
        options = about.get("options")
        if not options or "asked" not in options:
            raise MediaError(
                f"{run} does not record which model made it, because it was saved from Python. "
                "Redo it there, with that model: "
                "`coprop_plugin.pipeline.redo(model, video, run, out)`."
            )
        known = {**options, **options["asked"]}
        for name, value in named.items():
            if known.get(name) != value:
                raise MediaError(
                    f"{run} was made with {name}={known.get(name)!r}, not {value!r}; their masks "
                    f"cannot be mixed. Leave --{name} out to use the run's, or segment the video "
                    "without --reuse."
                )
        return cls(run, about)

    @property
    def options(self) -> Mapping[str, Any]:
        """`Options.settings` of the run."""
        return self.about["options"]

    def make_model(self, device: str | None = None) -> CoProp:
        """Build the model that made the run.

        Raises:
            MediaError: If a file of weights is missing or has changed.
            CopropError: If another part cannot be built.
        """
        asked = {k: v for k, v in self.options["asked"].items() if k != "control_points"}
        for part, stamp in self.options.get("stamps", {}).items():
            if fingerprint(asked[part]) != stamp:
                raise MediaError(
                    f"{self.run} was made with the {part} {asked[part]}, which is missing or has "
                    "changed since. Restore it, or segment the video without --reuse."
                )
        return make_model(**asked, device=device)


def redo_file(
    paths: Sequence[Path],
    out: Path,
    reuse: Reuse,
    points: Path | None,
    *,
    device: str | None = None,
    overlay: bool | None = None,
    alpha: bool | None = None,
    bare: bool = False,
    report: bool = False,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Write the result of an edit; yields its outcome. See `redo`.

    Args:
        paths: The video; exactly one.
        out: The result goes to `OUT/<name of the video>`.
        reuse: The earlier run.
        points: A file of control points; None for those in the run's folder, as they are now.
        device: Device of the model; by default a GPU if available.
        overlay: Whether to write `overlay.mp4`; None as the run.
        alpha: Whether to write `alpha/`; None as the run.
        bare: Whether to save the bare model's masks in `bare/`; those of the run are kept anyway.
        report: Whether to write `report.html`.
        progress: Whether to show a progress bar on stderr.

    Raises:
        CopropError: If there are several videos, or the model cannot be built.
    """
    if len(paths) != 1:
        raise MediaError(
            f"Expected one video with --reuse, got {len(paths)}. Redo them one at a time."
        )
    model, options = reuse.make_model(device), dict(reuse.options)
    options["overlay"] = options["overlay"] if overlay is None else overlay
    options["alpha"] = options["alpha"] if alpha is None else alpha
    path, folder = paths[0], out / names_of(paths)[0]
    about = {
        **described(path),
        "options": options,
        "reused": str(reuse.run.resolve()),
    }

    def work() -> Iterator[Outcome]:
        began = time.monotonic()
        try:
            _refuse_loss(folder, path)
            done = redo(
                model,
                path,
                reuse.run,
                folder,
                points=points,
                fps=options["fps"],
                overlay=options["overlay"],
                alpha=options["alpha"],
                about=about,
                progress=progress,
            )
            add_extras(
                model,
                path,
                folder,
                fps=options["fps"],
                sampling=options["sampling"],
                tracks=Tracks.of(options.get("tracks") or {}),
                bare=bare,
                report=report,
            )
            outcome = Outcome(
                path,
                "done",
                folder,
                len(done.times),
                done.control_points,
                tuple(done.times[done.control_points.indices].tolist()),
                took_s=time.monotonic() - began,
                num_computed=done.num_computed,
            )
        except Exception as error:  # A backend may raise anything.
            outcome = failure(path, error, time.monotonic() - began)
        Manifest(out, options).add(outcome)
        yield outcome

    return work()


def _refuse_loss(folder: Path, path: Path) -> None:
    wanted = str(path.resolve())
    before = (about_before(folder, path) or {}).get("input", wanted)
    if before != wanted:
        raise MediaError(
            f"{folder} holds the result of {before}, which would be overwritten. Choose another "
            "--out."
        )
