"""A result with an edit in it, from a command line: the earlier run says how it was made."""

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
from coprop_plugin.batch.outcome import Outcome, one_line
from coprop_plugin.errors import CopropError, MediaError
from coprop_plugin.pipeline import CoProp
from coprop_plugin.pipeline.redo import redo


@dataclass(frozen=True)
class Reuse:
    """An earlier run, and all that decided it beside its control points.

    Args:
        run: Its results folder.
        about: What `coprop run` remembered of it.
    """

    run: Path
    about: Mapping[str, Any]

    @classmethod
    def of(cls, run: Path, named: Mapping[str, Any]) -> "Reuse":
        """Read a run.

        Args:
            run: Its results folder.
            named: What a command line says of its model, weights, frames: all of it must be as it
                was. What it does not say is taken from the run.

        Raises:
            MediaError: If the folder holds no result of `coprop run`, or one of other settings.
        """
        about = media.PreviousResult.read(run).content.get("about") or {}
        options = about.get("options")
        if not options or "asked" not in options:
            raise MediaError(
                f"{run} does not say which model made it, because it was saved from Python. Redo "
                "it there, with that model: "
                "`coprop_plugin.pipeline.redo.redo(model, video, run, out)`."
            )
        known = {**options, **options["asked"]}
        for name, value in named.items():
            if known.get(name) != value:
                raise MediaError(
                    f"{run} was made with {name}={known.get(name)!r}, not {value!r}; masks of both "
                    f"cannot stand side by side. Leave --{name} out to take that of the run, or "
                    "segment the video without --reuse."
                )
        return cls(run, about)

    @property
    def options(self) -> Mapping[str, Any]:
        """`Options.settings` of the run."""
        return self.about["options"]

    def make_model(self, device: str | None = None) -> CoProp:
        """Make the model that made the run.

        Raises:
            MediaError: If a file of weights is gone, or is another one by now.
            CopropError: If any other part is not to be had.
        """
        asked = {k: v for k, v in self.options["asked"].items() if k != "control_points"}
        for part, stamp in self.options.get("stamps", {}).items():
            if fingerprint(asked[part]) != stamp:
                raise MediaError(
                    f"{self.run} was made with the {part} {asked[part]}, which is gone or was "
                    "changed since. Put it back, or segment the video without --reuse."
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
    """Make the result of an edit; yields what became of it, see `redo`.

    Args:
        paths: The video, alone.
        out: The result goes to `OUT/<name of the video>`.
        reuse: The earlier run.
        points: A file of control points; None takes the run's own, as they are now.
        device: Where to compute; by default on a GPU if there is any.
        overlay: Whether to write `overlay.mp4`; None as the run.
        alpha: Whether to write `alpha/`; None as the run.
        bare: Whether to keep the bare model's masks in `bare/`. Those of the run are kept anyway.
        report: Whether to write `report.html`.
        progress: Whether to show a progress bar on stderr.

    Raises:
        CopropError: If there are several videos, or the model cannot be made.
    """
    if len(paths) != 1:
        raise MediaError(
            f"Got {len(paths)} videos with --reuse, which is one run. Redo them one at a time."
        )
    model, options = reuse.make_model(device), dict(reuse.options)
    options["overlay"] = options["overlay"] if overlay is None else overlay
    options["alpha"] = options["alpha"] if alpha is None else alpha
    path, folder = paths[0], out / names_of(paths)[0]
    about = {
        "input": str(path.resolve()),
        "fingerprint": fingerprint(path),
        "options": options,
        "reused": str(reuse.run.resolve()),
    }

    def work() -> Iterator[Outcome]:
        began = time.monotonic()
        try:
            _refuse_loss(folder, about["input"])
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
            how = dict(fps=options["fps"], sampling=options["sampling"])
            add_extras(model, path, folder, **how, bare=bare, report=report)
            outcome = Outcome(
                path,
                "done",
                folder,
                len(done.times),
                done.control_points,
                tuple(done.times[done.control_points.indices].tolist()),
                took_s=time.monotonic() - began,
                num_anew=done.num_computed,
            )
        except (CopropError, OSError) as error:
            outcome = Outcome(path, "failed", error=one_line(error))
        Manifest(out, options).add(outcome)
        yield outcome

    return work()


def _refuse_loss(folder: Path, wanted: str) -> None:
    before = (media.read_about(folder) or {}).get("input", wanted)
    if before != wanted:
        raise MediaError(
            f"{folder} holds the result of {before}, which would be lost. Choose another --out."
        )
