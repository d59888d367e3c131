"""Prompts: the paper's wording, for any number of frames, and a user's own."""

import shutil
from typing import get_args

import pytest

from coprop_plugin.control_points.prompts import (
    DEFAULT,
    FOLDER,
    PromptName,
    Prompts,
    number_word,
    ordinal,
)
from coprop_plugin.errors import ControlPointError

# As printed in the paper (section 3.2; the variants of table 2 (b)).
ONE_STEP = (
    "Divide the audio into five frames. Assume the audio category of the first frame is 1. If the "
    "category of the current frame matches the previous frame, output 0; otherwise, output 1. "
    "Provide the categories of frames one through five in sequence, formatted as a list."
)
RCPG = [
    "When the category, timbre, and quantity of the current frame audio differ from the previous "
    "frame, we call the current frame a keyframe.",
    "The audio frames are evenly divided into ten frames, keyframes are marked as 1, and non-key "
    "frames are marked as 0. Please output the categories of these ten frames in order from the "
    "first frame to the tenth frame in the format of a list.",
]


def test_the_words_are_the_paper_s_for_its_numbers_of_frames():
    prompts = Prompts()
    assert prompts.text("one_step_list", 5) == prompts.text("three_step_list", 5) == ONE_STEP
    assert prompts.text("rcpg_list", 10) == " ".join(RCPG)
    assert prompts.text("rcpg_describe") == "Please briefly describe the content of this audio."
    assert prompts.text("three_step_describe") == "Please describe the input audio."
    assert prompts.text("three_step_categories") == (
        "How many different sound categories are present in the audio?"
    )


@pytest.mark.parametrize(("num_frames", "said"), [(2, "the second frame"), (30, "the 30th frame")])
def test_the_list_is_as_long_as_there_are_frames(num_frames, said):
    text = Prompts().text("rcpg_list", num_frames)
    assert said in text
    assert f"these {number_word(num_frames)} frames" in text


def test_numbers_are_words_up_to_twenty():
    assert [number_word(n) for n in (1, 20, 21)] == ["one", "twenty", "21"]
    assert [ordinal(n) for n in (1, 12, 21, 22, 23, 24, 111)] == (
        ["first", "twelfth", "21st", "22nd", "23rd", "24th", "111th"]
    )


def test_a_folder_replaces_its_texts_and_changes_the_version(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "rcpg_describe.txt").write_text("What is this?\n")
    prompts = Prompts(mine)
    assert prompts.text("rcpg_describe") == "What is this?"
    assert prompts.text("one_step_list", 5) == ONE_STEP
    assert prompts.version.startswith("mine-")
    (mine / "rcpg_describe.txt").write_text("What is that?\n")
    assert Prompts(mine).version != prompts.version


def test_a_copy_of_the_shipped_folder_has_the_same_version(tmp_path):
    shutil.copytree(FOLDER / DEFAULT, tmp_path / DEFAULT)
    assert Prompts(tmp_path / DEFAULT).version == Prompts().version


def test_an_unknown_version_is_refused(tmp_path):
    with pytest.raises(ControlPointError, match="Expected prompts='paper-1' or a folder.*Copy"):
        Prompts("paper-9")
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    with pytest.raises(ControlPointError, match="rcpg_list"):
        Prompts(tmp_path)


def test_unknown_placeholders_are_refused(tmp_path):
    (tmp_path / "rcpg_list.txt").write_text("$frames of them, for 5 $")
    with pytest.raises(ControlPointError, match=r"rcpg_list.txt.*\$count, \$number, \$ordinal"):
        Prompts(tmp_path).text("rcpg_list", 5)


def test_every_text_has_a_name():
    texts = {path.stem for path in (FOLDER / DEFAULT).glob("*.txt")} - {"README"}
    assert texts == set(get_args(PromptName))


def test_every_text_is_explained_and_installed():
    import configparser

    readme = (FOLDER / DEFAULT / "README.txt").read_text()
    for blank in ("$number", "$ordinal", "$count", "$examples", "$categories", "$flags", "$reason"):
        assert blank in readme
    parser = configparser.ConfigParser()
    parser.read(FOLDER.parents[2] / "setup.cfg")
    patterns = parser["options.package_data"]["coprop_plugin"].split()
    package = FOLDER.parents[1]
    installed = {path for pattern in patterns for path in package.glob(pattern)}
    assert set((FOLDER / DEFAULT).glob("*")) <= installed
    assert package / "control_points" / "language" / "synonyms.txt" in installed
