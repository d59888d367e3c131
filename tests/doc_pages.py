"""Reads pages of Markdown: their blocks of code, and the comments that say how to test them.

A block of Python prints what the block of text right behind it says; without one, what its own
comments at the left edge say. A comment before a block, which readers do not see, may say

    <!-- not run: why -->       of Python: it needs what a test cannot have
    <!-- raised by              of text: it is the message of the error that this Python raises;
    some Python                 `...` stands for anything
    -->
    <!-- warned by              likewise, of a warning
    some Python
    -->
"""

import contextlib
import doctest
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from coprop_plugin.errors import CopropError

ROOT = Path(__file__).resolve().parent.parent
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *SITE]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>(?:not run|raised by|warned by).*?)\s*-->\n\n?)?"
    r"^```(?P<kind>\w+)[^\n]*\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Block:
    """A fenced block.

    Args:
        kind: What stands behind its fence: python, sh, text, json ...
        body: What is in it.
        note: What the comment before it says; "" if there is none.
        output: The text right behind a block of Python; None if there is none.
    """

    kind: str
    body: str
    note: str
    output: str | None = None


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks_of(page):
    text, found, end = page.read_text(), [], 0
    for match in _BLOCK.finditer(text):
        block = Block(match["kind"], match["body"], match["note"] or "")
        right_behind = not text[end : match.start()].strip()
        if found and block.kind == "text" and found[-1].kind == "python" and right_behind:
            found[-1].output = block.body
        found.append(block)
        end = match.end()
    return found


def run(block, names):
    """Run Python; returns what it printed, and what its page says that it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.body, "block", "exec"), names)
    said = block.output
    if said is None:
        said = "".join(re.findall(r"^# (.*\n)", block.body, re.MULTILINE))
    return printed.getvalue(), said


def complaint(block, names):
    """Run what the note of a block of text says; returns the error's or the warning's message."""
    how, code = block.note.split("\n", 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec(compile(code, "note", "exec"), names)
        except CopropError as error:
            assert how == "raised by"
            return str(error)
    assert how == "warned by"
    return "\n".join(str(warning.message) for warning in caught)


def same(said, got):
    return doctest.OutputChecker().check_output(said, got + "\n", _OPTIONS)


def links_of(page):
    """Return where a page's links and pictures lead, but for those out of the repository."""
    prose = _BLOCK.sub("", page.read_text())
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if not re.match(r"https?:|mailto:", link)]


def anchors_of(page):
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in headings}
