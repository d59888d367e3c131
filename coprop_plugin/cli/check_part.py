"""`coprop check`: whether a backend, provider or propagator keeps its rules."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from coprop_plugin.cli.app import app
from coprop_plugin.cli.options import AsJson, Device
from coprop_plugin.cli.output import results_on_stdout, usage_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from coprop_plugin.benchmark.conformance import ConformanceReport, OwnCall

# As `benchmark.conformance.PartKind`, whose module imports torch.
Kind = Literal["backend", "provider", "propagator"]


@app.command(name="check")
def check_part(
    kind: Annotated[Kind, typer.Argument(help="What PART is.")],
    part: Annotated[
        str,
        typer.Argument(
            metavar="PART",
            help="FILE.py:NAME, the part or a function that makes it; or a name (`coprop list`). "
            "Of a backend also MODEL as for `coprop bench`; of a propagator a file of weights.",
        ),
    ],
    call: Annotated[
        str | None,
        typer.Option(
            help="Backend: FILE.py:NAME, a function that returns arguments of the wrapped model's "
            "own call, a tuple, or a dictionary by name; its answer must equal the wrapped one."
        ),
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Check that a part of your own keeps the rules that `wrap` relies on; exit code 1 if not."""
    with results_on_stdout() as print_result, usage_errors():
        report = _report(kind, part, call, device)
        print_result(json.dumps(report.to_dict()) if as_json else str(report))
    if report.failed:
        raise typer.Exit(1)


def _report(kind: Kind, part: str, call: str | None, device: str | None) -> "ConformanceReport":
    from coprop_plugin.batch import load_propagator, load_provider
    from coprop_plugin.benchmark import conformance
    from coprop_plugin.errors import AdapterError

    if call is not None and kind != "backend":
        raise AdapterError(f"--call is of a backend, got one for a {kind}. Leave it out.")
    if kind == "provider":
        return conformance.check_provider(load_provider(part), part)
    if kind == "propagator":
        return conformance.check_propagator(load_propagator(part, device), part)
    from coprop_plugin.cli.bench_models import loaded_backend, model_parts

    _, model, options, weights = model_parts(part)
    backend, _ = loaded_backend(model, options, weights, device)
    own_call = None if call is None else _own_call(call)
    return conformance.check_backend(backend, part, own_call)


def _own_call(spec: str) -> "Callable[[], OwnCall]":
    """Return a function of the arguments, positional and by name, that a user's function gives."""
    from coprop_plugin.batch.import_names import find_callable
    from coprop_plugin.errors import AdapterError

    expected = "Expected FILE.py:NAME, a function without arguments that returns a tuple or a dict."
    function = find_callable(spec, "--call", expected)

    def arguments() -> "OwnCall":
        given = function()
        if not isinstance(given, tuple | list | dict):
            raise AdapterError(f"--call {spec!r} returned a {type(given).__name__}. {expected}")
        return ((), given) if isinstance(given, dict) else (given, {})

    return arguments
