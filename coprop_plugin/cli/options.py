"""Options that several commands share."""

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

from coprop_plugin.choices import Sampling

Inputs = Annotated[
    list[Path],
    typer.Argument(help="Video files, folders of them, or text files that list them (.txt, @...)."),
]
Fps = Annotated[
    float, typer.Option(help="Frames a second to segment; 0 takes every frame.", min=0.0)
]
SamplingOption = Annotated[
    Sampling,
    typer.Option(
        help="Frame sampling: `pts` (by time stamp) or `avsbench` (1 fps at s + 15/16 s)."
    ),
]
Points = Annotated[
    str,
    typer.Option(
        help="Control-point provider: a name (`coprop list providers`), a JSON file of control "
        "points, a config as JSON, or file.py:name."
    ),
]
OwnPoints = Annotated[
    str | None,
    typer.Option(
        "--control-points",
        help="Control-point provider: a name (`coprop list providers`), a JSON file of control "
        "points, a config as JSON, or file.py:name. Default: the preset's or the model's own, else "
        "`change_detector`.",
    ),
]
PresetOption = Annotated[
    str,
    typer.Option(
        "--preset",
        help="Models and options that belong together: `offline`, `fast`, `balanced`, `best` "
        "(`coprop list presets` says what they download and cost); `default`; or `paper`: the "
        "method as published.",
    ),
]
ListenFor = Annotated[
    str | None,
    typer.Option(
        "--words",
        help='What to listen for, separated by commas, e.g. "dog, violin"; with --preset `fast`, '
        "`balanced` or `best`, or the backend `open_vocabulary`. Default: about eighty visible "
        "things.",
    ),
]
AudioTrack = Annotated[
    str | None,
    typer.Option(
        help="Audio track of the videos: its number (0 is the first) or language. Default: as "
        "players choose."
    ),
]
VideoTrack = Annotated[
    str | None,
    typer.Option(help="Video track: its number or language. Default: as players choose."),
]
Audio = Annotated[
    Path | None,
    typer.Option(help="Audio file to use instead of the audio of the one video that is given."),
]
Device = Annotated[str | None, typer.Option(help="Device, e.g. `cuda`. Default: GPU if available.")]
AnswerCache = Annotated[
    Path | None, typer.Option(help="Folder that keeps the answers of language models.")
]
LanguageModel = Annotated[
    str | None,
    typer.Option(
        "--llm",
        help="Language model for `one_step`, `three_step` and `rcpg`: qwen2_audio:ID_OR_FOLDER, "
        "openai:URL#MODEL, file.py:name, or a config as JSON.",
    ),
]
ExampleStore = Annotated[
    Path | None,
    typer.Option("--store", help="Annotated examples for `rcpg`, from `coprop anchor index`."),
]
PromptFolder = Annotated[
    Path | None,
    typer.Option("--prompts", help="Folder with your own prompts. Default: the paper's."),
]
Video = Annotated[Path | None, typer.Option(help="The segmented video, if it was moved since.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")]
WorkDir = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, logs and weights. Default: work_dirs/<config>."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a value of the config, e.g. train_cfg.max_epochs=30. May be repeated.",
    ),
]
Sounds = Annotated[
    Path | None,
    typer.Option(help="Folder of recordings to mix, see the guide to `change_detector`."),
]
Annotations = Annotated[
    Path | None,
    typer.Option(
        help="Hand annotations: a file of `coprop anchor annotate`, an Audacity label track, a "
        "TextGrid, RTTM or CSV, or a folder of them."
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Of S4 and MS3: the folder of AVSBench-semantic (AVSS), whose labels of the same "
        "clips give categories and control points."
    ),
]
Words = Annotated[
    str | None,
    typer.Option(
        help="For models that are guided by text: `labels`, the categories of the data set; or a "
        "file of words or of control points that name what sounds. Default: the answers of a "
        "language model that finds the control points."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bars.")]
WorldAssets = Annotated[
    Path | None,
    typer.Option(
        "--assets",
        help="World: folder of cut-outs, backgrounds and sounds, for photographic scenes.",
    ),
]
TrainingAssets = Annotated[
    Path | None,
    typer.Option(
        "--assets",
        help="Folder of cut-outs, backgrounds and sounds for photographic scenes, see the guide to "
        "the synthetic world.",
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        help="File of class names: one a line, or JSON. Default: AVSS's names for 71 classes."
    ),
]


def with_material(
    config: str, sounds: Path | None, assets: Path | None, work_dir: Path | None
) -> Any:
    """Return a config to train or evaluate, with the user's own recordings or cut-outs if given.

    Raises:
        TrainingError: If the config has no data sets that are made of them.
    """
    from coprop_plugin.training import with_assets, with_sounds

    chosen: Any = config
    if sounds is not None:
        chosen = with_sounds(chosen, sounds, work_dir)
    if assets is not None:
        chosen = with_assets(chosen, assets, work_dir)
    return chosen


def overrides_of(given: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE, where VALUE is a Python literal or a text.

    Raises:
        typer.BadParameter: If there is no `=`.

    Example:
        >>> overrides_of(["train_cfg.max_epochs=30", "model.weights=a.safetensors"])
        {'train_cfg.max_epochs': 30, 'model.weights': 'a.safetensors'}
    """
    found = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"Expected NAME=VALUE, got {text!r}.", param_hint="--set")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found
