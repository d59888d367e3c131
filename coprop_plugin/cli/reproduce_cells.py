"""Running the cells of a table of the paper for `coprop reproduce`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coprop_plugin.batch.language_models import RCPG, STRATEGIES
from coprop_plugin.benchmark.datasets import Statistics
from coprop_plugin.benchmark.paper_inputs import AOT_WEIGHTS, PaperInputs
from coprop_plugin.benchmark.paper_report import CellResult
from coprop_plugin.benchmark.paper_tables import PaperCell, PaperTable
from coprop_plugin.benchmark.plug_and_play import plug_and_play
from coprop_plugin.cli.bench_models import about_file, loaded_backend, model_parts
from coprop_plugin.cli.bench_providers import LanguageOptions, about_provider, providers_of
from coprop_plugin.errors import AdapterError
from coprop_plugin.propagation.resolve import as_propagator
from coprop_plugin.types import ControlPointProvider, KeyframeBackend, Propagator

VGGISH = "vggish-10086976"
_TAKE_EMBEDDINGS = ("tpavi", "catr")


def named_backends(specs: Sequence[str], table: PaperTable) -> dict[str, str]:
    """Read `ROW=MODEL` and `ROW/SET=MODEL`.

    Raises:
        AdapterError: If a text is neither, or the table has no such cell.

    Example:
        >>> from coprop_plugin.benchmark.paper_tables import read_table
        >>> named_backends(["autr-resnet50/S4=autr.py:make@s4.pth"], read_table("table1"))
        {'autr-resnet50/S4': 'autr.py:make@s4.pth'}
    """
    known = {name for c in table.cells for name in (c.row, f"{c.row}/{c.set}")}
    named = {}
    for spec in specs:
        place, equals, model = spec.partition("=")
        if not equals or place not in known:
            raise AdapterError(
                f"Expected --backend ROW=MODEL or ROW/SET=MODEL with a row of {table.name}, got "
                f"{spec!r}. `coprop reproduce {table.name} --list` shows them."
            )
        named[place] = model
    return named


@dataclass
class Reproduction:
    """Runs cells, the ones of one model together; models are loaded one after the other.

    Args:
        inputs: Data sets and weights.
        language: Options of language models; `store` may be a folder with `s4.jsonl`, `ms3.jsonl`
            and `avss.jsonl`.
        out: Folder for `records.jsonl` and answers, shared by all tables.
        backends: MODEL as for `coprop bench`, by `ROW` or `ROW/SET`, for rows whose code is not
            built in.
        size: Side of the frames in pixels; None for that of each cell.
        device: Of the models.
        redo: Whether to score finished clips again.
        progress: Whether to show a progress bar.
    """

    inputs: PaperInputs
    language: LanguageOptions
    out: Path
    backends: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    device: str | None = None
    redo: bool = False
    progress: bool = False

    def run(self, cells: Sequence[PaperCell]) -> list[CellResult]:
        """Return the results of cells, in their order.

        Raises:
            CopropError: If what is there cannot be loaded.
        """
        results = {
            cell: CellResult(cell, missing=missing)
            for cell in cells
            if (missing := self.missing(cell))
        }
        groups: dict[Any, list[PaperCell]] = {}
        for cell in cells:
            if cell.kind == "statistics" and cell not in results:
                results[cell] = self._counted(cell)
            elif cell not in results:
                key = (cell.set, self._size(cell), self._spec(cell), cell.weights)
                groups.setdefault(key, []).append(cell)
        for group in groups.values():
            results |= self._scored(group)
        return [results[cell] for cell in cells]

    def missing(self, cell: PaperCell) -> list[str]:
        """Return what a cell lacks."""
        lacking = self.inputs.missing(cell)
        if cell.kind == "masks" and not cell.model and self._spec(cell) is None:
            lacking.append(
                f"code: {cell.code} (an instance of it runs by --backend {cell.row}=file.py:make)"
            )
        if cell.points in STRATEGIES and self.language.llm is None:
            lacking.append("a language model, --llm (the paper names no version of Qwen)")
        if cell.points == RCPG and not self._store(cell):
            lacking.append(self._missing_store(cell))
        return lacking

    def _spec(self, cell: PaperCell) -> str | None:
        """Return the MODEL that a user named for a cell."""
        return self.backends.get(f"{cell.row}/{cell.set}", self.backends.get(cell.row))

    def _size(self, cell: PaperCell) -> int:
        return self.size or cell.size

    def _store(self, cell: PaperCell) -> Path | None:
        store = self.language.store
        if store is not None and store.is_dir():
            store = store / f"{cell.subset.lower()}.jsonl"
        return store if store is not None and store.is_file() else None

    def _missing_store(self, cell: PaperCell) -> str:
        name, labels = cell.subset.lower(), self.inputs.folder_of("AVSS") or "AVSS"
        folder = self.inputs.folder_of(cell.subset) or cell.subset
        store = self.language.store or Path("stores")
        file = store if store.suffix else store / f"{name}.jsonl"
        # Of S4's training clips one frame is labelled: people must annotate them.
        made = f"coprop anchor index {folder} --labels {labels} -o {file}"
        if cell.subset == "S4":
            made = "clips annotated by hand, as only one frame of S4's is labelled in training"
        return f"{file} (--store), from {made}"

    def _counted(self, cell: PaperCell) -> CellResult:
        """Count the clips of a set, and their categories."""
        dataset = self.inputs.dataset(cell, self.size)
        found = Statistics.of(dataset)
        numbers = None
        if found.categories is not None:
            changing = round(100 * found.changing_share, 2)
            numbers = (found.videos, round(found.categories, 3), changing)
        ran = {"clips": {"name": ", ".join(dataset.ids)}} if cell.set == "MOC" else {}
        return CellResult(cell, numbers, found.videos, ran)

    def _scored(self, cells: Sequence[PaperCell]) -> dict[PaperCell, CellResult]:
        """Score the cells of one model on one set of clips."""
        first = cells[0]
        name = first.weights or first.row
        backend, about = self._backend(first)
        propagators, about_propagators = self._propagators(cells)
        providers = self._providers(cells)
        dataset = self.inputs.dataset(first, self.size)
        report = plug_and_play(
            {first.set: dataset},
            {name: backend},
            list(dict.fromkeys(cell.bench_row for cell in cells)),
            propagators=propagators,
            providers=providers,
            out=self.out,
            redo=self.redo,
            settings={"folder": str(dataset.root.resolve()), "size": self._size(first)},
            progress=self.progress,
        )
        results = {}
        for cell in cells:
            ran: dict[str, Any] = {"keyframes": {"name": name, **about}}
            if cell.points:
                provider = providers.get(cell.points)
                known = {} if provider is None else about_provider(provider)
                ran = {"provider": {"name": cell.points, **known}, **ran}
                ran["propagator"] = about_propagators[cell.propagator]
            failed = [f for f in report.failures if f["row"] == cell.bench_row]
            clips = report.about["sets"][first.set] - len(failed)
            numbers = cell.numbers(report.scores(name, cell.bench_row)) if clips else None
            failures = [f"{f['clip']}: {f['error']}" for f in failed]
            results[cell] = CellResult(cell, numbers, clips, ran, failures=failures)
        return results

    def _backend(self, cell: PaperCell) -> tuple[KeyframeBackend, dict[str, Any]]:
        spec = self._spec(cell)
        if spec is not None:
            _, model, options, weights = model_parts(spec)
            return loaded_backend(model, options, weights, self.device)
        options = {}
        if cell.model in _TAKE_EMBEDDINGS and (vggish := self.inputs.weights_file(VGGISH)):
            options["vggish"] = str(vggish)
        weights = self.inputs.weights_file(cell.weights)
        return loaded_backend(cell.model, options, weights, self.device)

    def _propagators(
        self, cells: Sequence[PaperCell]
    ) -> tuple[dict[str, Propagator], dict[str, dict[str, Any]]]:
        files = {
            cell.propagator: self.inputs.weights_file(cell.propagator)
            for cell in cells
            if cell.propagator
        }
        found = {name: path for name, path in files.items() if path is not None}
        propagators = {name: as_propagator(path) for name, path in found.items()}
        about: dict[str, dict[str, Any]] = {
            name: {"name": name, **about_file(path)} for name, path in found.items()
        }
        if AOT_WEIGHTS in about:
            about[AOT_WEIGHTS]["name"] += " (AOT, without audio)"
        return propagators, about

    def _providers(self, cells: Sequence[PaperCell]) -> dict[str, ControlPointProvider]:
        store = self._store(cells[0])
        cache = self.language.cache or self.out / "answers"
        language = replace(self.language, store=store, cache=cache)
        providers, _ = providers_of([], [c.bench_row for c in cells if c.points], language)
        return providers
