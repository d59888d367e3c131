"""A result is replaced by another without a moment in which a kill could lose both."""

import os
import shutil

import numpy as np
import pytest
from make_results import clip_in_memory, everything_in, result_of

from coprop_plugin import media
from coprop_plugin.errors import MediaError
from coprop_plugin.media import PreviousResult, ResultWriter, read_manifest, replace_folder
from coprop_plugin.report import find_runs


class Killed(BaseException):
    """What `kill` would do, without the end of the test."""


class Steps:
    """The steps of a replacement; the process dies before or after one of them."""

    def __init__(self, last, during=False):
        self.last, self.during, self.taken = last, during, 0

    def _step(self, act):
        if self.taken == self.last and not self.during:
            raise Killed
        act()
        if self.taken == self.last:
            raise Killed
        self.taken += 1

    def rename(self, source, target):
        self._step(lambda: os.rename(source, target))

    def remove(self, folder):
        def half():
            shutil.rmtree(folder / "masks")

        self._step(half if self.during else lambda: shutil.rmtree(folder))


def saved(folder, times=(0, 0.5, 1, 1.5)):
    return result_of(clip_in_memory(times)).save(folder, overlay=False)


def painted(folder):
    """A result with a mask that was painted by hand; returns the mask's bytes."""
    path = saved(folder) / "masks" / "00001.png"
    media.write_masks(np.ones((1, 48, 64)), folder / "painted")
    os.replace(folder / "painted" / "00000.png", path)
    (folder / "painted").rmdir()
    return path.read_bytes()


def is_result(folder):
    return read_manifest(folder) is not None


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize("during", [False, True])
@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_kill_at_any_step_leaves_the_earlier_or_the_new_result(target, last, during):
    mask = painted(target)
    partial = saved(target.with_name("partial"), times=(0, 1))
    steps = Steps(last, during)
    with pytest.raises(Killed):
        replace_folder(partial, target, is_result, rename=steps.rename, remove=steps.remove)
    is_new = steps.taken == 2 or (last, during) == (1, True)
    assert read_manifest(target)["num_frames"] == (2 if is_new else 4)
    if not is_new:
        assert (target / "masks" / "00001.png").read_bytes() == mask
    shutil.rmtree(partial, ignore_errors=True)
    saved(target, times=(0, 1, 2))
    assert read_manifest(target)["num_frames"] == 3
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_an_interrupted_replacement_is_undone_by_the_next_reader(target):
    mask = painted(target)
    old = target.with_name(".out.old")
    target.rename(old)
    assert 1 in PreviousResult.read(target).painted()[0]
    target.rename(old)
    assert find_runs([target.parent]) == [target]
    target.rename(old)
    with pytest.raises(Killed), ResultWriter(target, clip=clip_in_memory(), overlay=False):
        raise Killed
    assert (target / "masks" / "00001.png").read_bytes() == mask


def test_an_empty_folder_is_no_reason_to_lose_a_result(target):
    painted(target)
    target.rename(target.with_name(".out.old"))
    target.mkdir()
    assert read_manifest(target)["num_frames"] == 4


def test_what_was_moved_aside_is_only_deleted_for_a_complete_result(target):
    painted(target)
    old = target.with_name(".out.old")
    target.rename(old)
    target.mkdir()
    (target / ".DS_Store").write_text("")
    before = everything_in(target.parent)
    with pytest.raises(MediaError, match=r"out is not complete, and .*\.out\.old holds"):
        saved(target)
    assert everything_in(target.parent) == before


def test_a_reader_between_the_renames_does_no_harm(target):
    painted(target)
    partial = saved(target.with_name("partial"), times=(0, 1))

    def rename(source, to):
        os.rename(source, to)
        # Once: the earlier result is put back before the new one has its name.
        if source == target and not partial.with_name("seen").exists():
            partial.with_name("seen").touch()
            assert read_manifest(target)["num_frames"] == 4

    replace_folder(partial, target, is_result, rename=rename)
    assert read_manifest(target)["num_frames"] == 2
    assert not target.with_name(".out.old").exists()


@pytest.mark.parametrize(
    "leftover",
    [".alpha.12.part/00000.png", ".alpha.old/00000.png", ".bare.part/masks/00000.png",
     ".report.html.12.part", ".alpha.12.part.webm", ".coco.json.3.part"],
)  # fmt: skip
def test_what_a_killed_export_or_report_left_is_ours(target, leftover):
    saved(target)
    (target / leftover).parent.mkdir(parents=True, exist_ok=True)
    (target / leftover).write_text("half")
    saved(target)
    assert not (target / leftover).exists()


def test_hidden_files_of_others_are_left_alone(target):
    saved(target)
    (target / ".thesis.12.part").write_text("mine")
    with pytest.raises(MediaError, match=r"\.thesis"):
        saved(target)


def test_hidden_folders_are_not_listed_as_runs(target):
    saved(target)
    shutil.copytree(target, target.with_name(".out.old"))
    shutil.copytree(target, target.with_name(".other.part"))
    assert find_runs([target.parent]) == [target]


def test_only_a_writer_that_reuses_can_keep(target):
    with (
        pytest.raises(MediaError, match="writer with `reuse=`"),
        ResultWriter(target, clip=clip_in_memory(), overlay=False) as writer,
    ):
        writer.keep(0.0)
