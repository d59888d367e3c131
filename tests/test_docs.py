"""The documentation is right: programs print what it says, commands exist, links lead somewhere."""

import json
import re
import shlex
import shutil

import pytest
import torch
import yaml
from doc_pages import (
    PAGES,
    ROOT,
    SITE,
    anchors_of,
    blocks_of,
    complaint,
    links_of,
    name_of,
    run,
    same,
)
from make_avsbench import make_ms3
from stand_ins import CATR, TPAVI, AVSegFormer, StandInVGGish

from coprop_plugin import media
from coprop_plugin.world import Scene

EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


def pages_with(wanted):
    """Parametrise by the pages that have what a test looks at; there must be some."""
    found = [page for page in PAGES if wanted(page)]
    assert found
    return pytest.mark.parametrize("page", found, ids=name_of)


def has_block(*kinds):
    return lambda page: any(block.kind in kinds for block in blocks_of(page))


@EVERY_PAGE
def test_every_fence_of_a_page_is_seen(page):
    """A block that the tests do not see would be a block that no test runs."""
    fences = re.findall(r"^ *```", page.read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(blocks_of(page))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Files that the pages use: a video of ten seconds, and clips in MS3's layout."""
    folder = tmp_path_factory.mktemp("docs")
    scene = Scene.made_up(seed=11, duration_s=10.0, size=(240, 320))
    media.write_clip(scene.clip(fps=12), folder / "street.mp4")
    make_ms3(folder / "data" / "Multi-sources", {"a": ("train", "01011"), "b": ("train", "11111")})
    return folder


@pages_with(lambda page: any(b.kind == "python" or b.note for b in blocks_of(page)))
def test_programs_print_what_their_page_says(page, given, tmp_path, monkeypatch):
    """The blocks of a page share their names and a folder."""
    shutil.copytree(given, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names = {
        "avsegformer_model": AVSegFormer().eval(),
        "tpavi_model": TPAVI().eval(),
        "catr_model": CATR().eval(),
        "vggish": StandInVGGish().eval(),
        "log_mels": torch.randn(5, 1, 96, 64),
        "frames": torch.randn(5, 3, 224, 224),
    }
    for block in blocks_of(page):
        if block.kind == "python" and not block.note:
            printed, said = run(block, names)
            assert printed == said, block.body
        elif block.kind == "python":
            assert re.fullmatch(r"not run: .+", block.note), block.note
            compile(block.body, name_of(page), "exec")
        elif block.note:
            said = complaint(block, names)
            assert same(block.body, said), said
            # What stands for anything must not stand for nearly all of it.
            assert len(block.body.replace("...", "").split()) > 6


@pages_with(has_block("sh"))
def test_commands_exist(page):
    shell = "".join(block.body for block in blocks_of(page) if block.kind == "sh")
    lines = shell.replace("\\\n", " ").splitlines()
    assert any(lines)
    makefile = (ROOT / "Makefile").read_text()
    for line in lines:
        words = shlex.split(line, comments=True)
        if "coprop" in words:
            check_command(words[words.index("coprop") + 1 :])
        elif words[:1] == ["make"]:
            assert f"\n{words[1]}:" in makefile, line
        elif words[:2] == ["python", words[1] if len(words) > 1 else ""]:
            assert not words[1].endswith(".py") or (ROOT / words[1]).is_file(), line


def check_command(words):
    from typer.main import get_command

    from coprop_plugin import cli

    command = get_command(cli.app)
    while hasattr(command, "commands"):
        # `coprop anchor FILES` is short for `coprop anchor files FILES`.
        known = words and words[0] in command.commands
        command = command.commands[words.pop(0) if known else "files"]
    options = {option for parameter in command.params for option in parameter.opts}
    options |= {option for parameter in command.params for option in parameter.secondary_opts}
    for word in words:
        if re.fullmatch(r"--?[a-z][a-z-]*", word):
            assert word in options | {"--help"}, (command.name, word)


def test_a_page_names_every_command():
    from typer.main import get_command

    from coprop_plugin import cli

    shell = "".join(b.body for b in blocks_of(ROOT / "docs/command_line.md") if b.kind == "sh")
    shown = set(re.findall(r"^coprop (\w+)", shell, re.MULTILINE))
    assert shown >= set(get_command(cli.app).commands)


@pages_with(has_block("json", "yaml"))
def test_data_can_be_read(page):
    for block in blocks_of(page):
        if block.kind == "json":
            assert json.loads(block.body)
        elif block.kind == "yaml":
            assert any(yaml.safe_load_all(block.body))


@pages_with(links_of)
def test_links_lead_somewhere(page):
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_the_navigation_names_every_page_once():
    def paths(part):
        if isinstance(part, str):
            return [part]
        return [
            path
            for one in (part if isinstance(part, list) else part.values())
            for path in paths(one)
        ]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = sorted(path for path in paths(site["nav"]) if not path.startswith("http"))
    assert named == sorted(p.relative_to(ROOT / "docs").as_posix() for p in SITE)


def test_the_site_loads_nothing_from_elsewhere():
    """Fonts and scripts of other servers would tell them who reads a page."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["theme"]["font"] is False
    assert not {"extra_javascript", "analytics"} & set(site)
