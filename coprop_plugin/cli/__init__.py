"""The command line: `coprop run | report | export | anchor | demo | list | train | bench`, ...

Results go to stdout, one line an input (`--json` for scripts), progress and warnings to stderr.
Exit codes: 0 done, 1 some inputs failed (each is listed), 2 wrong usage, 3 done, but stdout was
closed or full.
"""

# Nothing here imports torch, or anything that does, before a command is run, so that
# `coprop --help` is fast. Commands appear in the help in the order of these imports.
from coprop_plugin.cli import run_videos, demo, report, export, anchor, list_names  # noqa: F401, I001
from coprop_plugin.cli import manage_weights, convert_checkpoint, train, evaluate, bench, reproduce  # noqa: F401, I001
from coprop_plugin.cli import check_part, leaderboard, moc, robust, score_tracks  # noqa: F401, I001
from coprop_plugin.cli import anchor_index, anchor_annotate, anchor_compare  # noqa: F401, I001
from coprop_plugin.cli.app import app
from coprop_plugin.cli.output import refuse_dashed_files

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line."""
    refuse_dashed_files()
    app()
