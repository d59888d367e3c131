"""What is installed is what is in the tree, and importing it costs little."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["options"]


def test_every_folder_with_code_is_installed(options):
    listed = set(options["packages"].split())
    own = {p.parent.relative_to(ROOT) for p in (ROOT / "coprop_plugin").rglob("__init__.py")}
    adapters = {p.parent.relative_to(ROOT) for p in (ROOT / "adapters").rglob("__init__.py")}
    wanted = {".".join(p.parts) for p in own}
    wanted |= {"coprop_plugin." + ".".join(p.parts) for p in adapters}
    assert listed == wanted


def test_adapters_install_inside_the_package(options):
    mapping = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    for package, folder in mapping.items():
        assert package.startswith("coprop_plugin.adapters")
        assert (ROOT / folder / "__init__.py").is_file()


def test_the_adapters_folder_refuses_to_be_a_top_level_package():
    code = "import adapters"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "from coprop_plugin import adapters" in done.stderr


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, coprop_plugin; "
        "print([m for m in ('torch', 'mmengine', 'transformers', 'cv2', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_answers_without_torch():
    code = (
        "import sys; from coprop_plugin import cli\n"
        "try:\n    cli.app(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "assert not {'torch', 'mmengine', 'numpy', 'av'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout
