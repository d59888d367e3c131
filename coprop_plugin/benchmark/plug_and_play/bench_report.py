"""The result of the benchmark: scores, failures, settings and versions."""

import csv
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coprop_plugin import __version__
from coprop_plugin.benchmark.plug_and_play.clip_scores import (
    PARTS,
    mean_and_spread,
    part_of,
    scores_of,
)
from coprop_plugin.benchmark.plug_and_play.fingerprints import data_fingerprint
from coprop_plugin.benchmark.plug_and_play.lost_scores import losses
from coprop_plugin.benchmark.plug_and_play.table import as_text
from coprop_plugin.benchmark.robust.robust_scores import robust_scores
from coprop_plugin.errors import UnknownNameError
from coprop_plugin.media import write_text
from coprop_plugin.report.read_bench import FILE_NAME, FORMAT


@dataclass(frozen=True)
class Report:
    """The scores of every backend and row.

    Attributes:
        results: One mapping for each backend, row and part of the clips (see `PARTS`): `backend`,
            `row`, `part`, `clips` (their number), `mean` and `std` over the sets, and `sets`, the
            scores of each; and `made_by`, what the numbers depend on: fingerprints of backend,
            propagator and provider, of each set's clips, and the versions.
        failures: One mapping for each failure: `set`, `clip`, `backend`, `row`, `error`.
        about: Sets, settings and versions.
    """

    results: Sequence[Mapping[str, Any]]
    failures: Sequence[Mapping[str, str]]
    about: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        records: Mapping[tuple[str, str], Mapping[str, Sequence[Mapping[str, Any]]]],
        failures: Sequence[Mapping[str, str]],
        about: Mapping[str, Any],
        prints: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    ) -> "Report":
        """Score records, given by backend and row and then by set of clips.

        Args:
            records: Records of clips, see `measure`.
            failures: See `Report`.
            about: See `Report`.
            prints: By backend and row: fingerprints of the parts.
        """
        results = []
        for (backend, row), sets in records.items():
            made_by = _made_by(sets) | dict((prints or {}).get((backend, row), {}))
            for part in PARTS:
                kept = {name: part_of(clips, part) for name, clips in sets.items()}
                scores = {name: scores_of(clips) for name, clips in kept.items() if clips}
                if part == "all":
                    scores = {name: s | robust_scores(sets[name]) for name, s in scores.items()}
                mean, std = mean_and_spread(list(scores.values()))
                where = {"backend": backend, "row": row, "part": part}
                clips = sum(map(len, kept.values()))
                result = {**where, "clips": clips, "mean": mean, "std": std, "sets": scores}
                results.append({**result, "made_by": made_by})
        return cls(results, list(failures), dict(about))

    def scores(self, backend: str, row: str, part: str = "all") -> Mapping[str, float | None]:
        """Return the mean scores of one line.

        Raises:
            UnknownNameError: If there is no such line.
        """
        for result in self.results:
            if (result["backend"], result["row"], result["part"]) == (backend, row, part):
                return result["mean"]
        known = sorted({f"{r['backend']} {r['row']}" for r in self.results})
        raise UnknownNameError(
            f"There are no scores of {backend!r}, {row!r}, {part!r}. There are "
            f"{', '.join(known) or 'none'}, each with the parts {', '.join(PARTS)}."
        )

    @property
    def losses(self) -> list[dict[str, Any]]:
        """What each row loses by wrong predictions, see `losses`; empty if there were none."""
        return losses(self.results, self.about.get("wrong", 0.0))

    def save(self, folder: str | Path) -> Path:
        """Write `report.json` and `report.csv` (one line a result: means and deviations).

        Returns:
            The folder.

        Raises:
            MediaError: If it cannot be written.
        """
        folder = Path(folder)
        content = {"format": FORMAT, "about": self.about, "failures": self.failures}
        content |= {"losses": self.losses, "results": self.results}
        text = json.dumps(content, indent=1, default=str)
        write_text(folder / FILE_NAME, text + "\n")
        write_text(folder / "report.csv", self._csv())
        return folder

    def _csv(self) -> str:
        where = ["backend", "row", "part", "clips"]
        names = list(dict.fromkeys(name for result in self.results for name in result["mean"]))
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(where + [column for name in names for column in (name, f"{name}_std")])
        for result in self.results:
            scores = [result[kind].get(name) for name in names for kind in ("mean", "std")]
            lines.writerow([*(result[name] for name in where), *scores])
        return out.getvalue()

    def __str__(self) -> str:
        """Return tables of text: all clips, then parts of them."""
        return as_text(self.results, self.about.get("wrong", 0.0))


def _made_by(sets: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the fingerprints of the clips of each set, and the versions that scored them."""
    prints = {
        name: [r["clip_sha256"] for r in clips if "clip_sha256" in r]
        for name, clips in sets.items()
    }
    stamps = {clip["versions"] for clips in sets.values() for clip in clips if "versions" in clip}
    data = {name: data_fingerprint(clips) for name, clips in prints.items() if clips}
    return {"data": data, "versions": sorted(stamps)}


def versions_stamp() -> str:
    """Return the versions that a record was made by, and where, as one line."""
    known = versions()
    names = ("coprop_plugin", "torch", "numpy", "python")
    return ", ".join([*(f"{name} {known[name]}" for name in names), known["gpu"] or "CPU"])


def versions() -> dict[str, Any]:
    """Return what the numbers may depend on: versions, machine, threads and GPU."""
    return {
        "coprop_plugin": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
