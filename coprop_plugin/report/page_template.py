"""HTML pages from templates: autoescaped, self-contained, and with no script but our own."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coprop_plugin import __version__

PageName = Literal["run", "clips", "annotate", "leaderboard"]

_SCRIPTS: dict[PageName, tuple[str, ...]] = {
    "run": ("timeline.js", "run.js", "words.js"),
    "clips": ("clips.js",),
    "annotate": ("annotate.js",),
    "leaderboard": ("clips.js", "leaderboard.js"),
}
_CONNECTS: dict[PageName, str] = {"annotate": "connect-src 'self'; "}
"""What a page's script may load from its server, which only one that is served has."""


def render_page(name: PageName, values: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Render a page with its values, style, script and data inside.

    Every value is escaped. The page's Content-Security-Policy refuses everything that would load
    or run except this style and this script, images and video inside the page, and video files
    next to it; the script of `annotate` may load data from the page's own server.

    Args:
        name: The template, `<name>.html`.
        values: Variables of the template.
        data: For the script; embedded as JSON.
    """
    style, script = _source("style.css"), "".join(map(_source, _SCRIPTS[name]))
    policy = (
        "default-src 'none'; img-src data:; media-src blob: 'self' file:; "
        f"{_CONNECTS.get(name, '')}style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = (
        _environment()
        .get_template(f"{name}.html")
        # Marked as safe, or the text would differ from what the policy's hashes allow.
        .render(
            values,
            version=__version__,
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            data=data,
        )
    )
    # File names that are not UTF-8 have characters that cannot be encoded.
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("coprop_plugin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Used by the `tojson` filter, which also escapes what could end a <script> early.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "default": str}
    return environment


def _source(name: str) -> str:
    return (resources.files("coprop_plugin.report") / "templates" / name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
