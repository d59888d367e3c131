"""Checkpoints of a training run that survive a kill: written whole, resumed from what is whole."""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook
from mmengine.runner import CheckpointLoader, Runner

from coprop_plugin.checkpoints.untrusted import DAMAGE, only_tensors, refuse_large
from coprop_plugin.errors import CheckpointError, short_reason
from coprop_plugin.limits import read_text
from coprop_plugin.media import write_text
from coprop_plugin.registry import HOOKS

LAST = "last_checkpoint"
"""Name of the file with the name of the last checkpoint, as mmengine writes it."""

_PARTS = ("meta", "state_dict", "message_hub", "optimizer")
_STEP = re.compile(r"(?:iter|epoch)_(\d+)\.pth")


class WholeRunner(Runner):
    """An mmengine Runner whose checkpoints appear under their names when they are whole."""

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **options: Any) -> None:
        """Write a checkpoint beside, on the disk, then rename it."""
        folder = Path(out_dir)
        partial = f".{filename}.part"
        if "://" in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **options)
            return
        try:
            super().save_checkpoint(out_dir, partial, *args, **options)
            # Otherwise a power cut may leave the new name and zeros.
            with (folder / partial).open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(folder / partial, folder / filename)
        finally:
            (folder / partial).unlink(missing_ok=True)


@HOOKS.register_module(name="CheckpointHook")
class WholeCheckpoints(CheckpointHook):
    """mmengine's `CheckpointHook`, but old checkpoints are deleted after the new one is whole.

    `last_checkpoint` names a file of the folder that it is in, so that a copied or moved folder
    resumes its own run.

    Example:
        >>> WholeCheckpoints(interval=100, by_epoch=False, max_keep_ckpts=1).max_keep_ckpts
        1
    """

    file_backend: Any
    best_ckpt_path: Any

    def before_train(self, runner: Any) -> None:
        """Find the folder, and delete what a killed run left half-written in it."""
        super().before_train(runner)
        self.file_backend = _RemovesLater(self.file_backend)
        folder = Path(self.out_dir)
        if is_main_process() and folder.is_dir():
            for partial in folder.glob(".*.pth.part"):
                partial.unlink(missing_ok=True)
        # A checkpoint remembers the best one where the folder was when it was written.
        if self.save_best is None:
            return
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = self._here(self.best_ckpt_path)
        else:
            for key, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[key] = self._here(path)

    def _here(self, path: str | None) -> str | None:
        return path and self.file_backend.join_path(self.out_dir, Path(path).name)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        super()._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            here = Path(self.out_dir) == Path(runner.work_dir)
            last = Path(self.last_ckpt)
            write_text(Path(runner.work_dir) / LAST, last.name if here else str(last.resolve()))
        self.file_backend.remove_now()

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, Any]) -> None:
        super()._save_best_checkpoint(runner, metrics)
        self.file_backend.remove_now()


class _RemovesLater:
    """A file backend of mmengine that removes files when it is told to."""

    def __init__(self, backend: Any) -> None:
        self._backend, self._outdated = backend, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Note a file to remove."""
        self._outdated.append(path)

    def remove_now(self) -> None:
        """Remove those that were noted."""
        while self._outdated:
            with contextlib.suppress(FileNotFoundError):
                self._backend.remove(self._outdated.pop())


def last_whole_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint in a work folder that can be resumed; None if there are none.

    Warns of each later one that is damaged.

    Raises:
        CheckpointError: If there are checkpoints, and all of them are damaged or missing.
    """
    damaged: list[str] = []
    for path in _candidates(folder):
        reason = _damage(path)
        if reason is None:
            for fault in damaged:
                warnings.warn(f"{fault}; resuming from {path.name} instead.", stacklevel=2)
            return path
        damaged.append(f"{path} cannot be resumed ({reason})")
    if damaged:
        raise CheckpointError(
            f"{'; '.join(damaged)}. There is no other checkpoint in {folder}: name another folder "
            "to start from the beginning."
        )
    return None


def holds_checkpoints(folder: Path) -> bool:
    """Whether a work folder holds checkpoints of a run, whole or not."""
    return next(_candidates(folder), None) is not None


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the checkpoint that is noted as the last one, then the others, latest first."""
    noted = None
    with contextlib.suppress(OSError, ValueError):
        text = read_text(folder / LAST, CheckpointError).strip().strip("\0")
        if text:
            noted = Path(text)
            # By its name in this folder: the folder may have been copied or moved.
            if (folder / noted.name).exists() or not noted.is_absolute():
                noted = folder / noted.name
            yield noted
    saved = {path: _STEP.fullmatch(path.name) for path in folder.glob("*.pth")}
    steps = {path: int(match[1]) for path, match in saved.items() if match}
    for path in sorted(steps, key=lambda path: steps[path], reverse=True):
        if path != noted:
            yield path


def _damage(path: Path) -> str | None:
    """Return why a checkpoint cannot be resumed; None if it can."""
    if not path.is_file():
        return "it is missing"
    if path.stat().st_size == 0:
        return "it is empty"
    try:
        refuse_large(path)
        with only_tensors():
            content = CheckpointLoader.load_checkpoint(str(path), map_location="cpu")
    except DAMAGE as error:
        return short_reason(error)
    missing = [part for part in _PARTS if part not in content]
    return f"it lacks {', '.join(missing)}" if missing else None
