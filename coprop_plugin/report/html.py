"""Filling in the pages: everything escaped, nothing from elsewhere, no script but ours."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

_TEMPLATES = "coprop_plugin.report"
# What a log may hold at most of one text, and how deep it is shown.
_LONGEST_TEXT, _DEEPEST = 20_000, 12


class Markup(str):
    """Text that is HTML already."""


def fill(name: str, values: Mapping[str, Any], data: Any) -> str:
    """Return a page: a template with its values, style, script and data inside.

    The page's own policy refuses whatever else would load or run: only this very style and this
    very script, pictures and video it carries, and video that lies beside it.

    Args:
        name: `run` or `index`; the template `<name>.html` and its `<name>.js`.
        values: What `{{name}}` stands for; escaped unless it is `Markup`.
        data: For the script, as JSON.
    """
    style = _text("style.css")
    script = _text("timeline.js") + _text(f"{name}.js") if name == "run" else _text(f"{name}.js")
    policy = (
        "default-src 'none'; img-src data:; media-src blob: 'self' file:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    whole = {
        **values,
        "policy": policy,
        "style": Markup(style),
        "script": Markup(script),
        "data": Markup(json_inside_html(data)),
    }

    def value_of(match: re.Match[str]) -> str:
        value = whole[match[1]]
        return value if isinstance(value, Markup) else escape(str(value), quote=True)

    template = _text(f"{name}.html").replace("{{top}}", _text("top.html"))
    page = re.sub(r"\{\{(\w+)\}\}", value_of, template)
    # Names of files that are not UTF-8 have characters that cannot be written.
    return page.encode("utf-8", "replace").decode("utf-8")


def json_inside_html(data: Any) -> str:
    r"""Return JSON that no text in it can end early when it stands in a `<script>`.

    Example:
        >>> json_inside_html({"name": "</script>"})
        '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=str)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def tree(value: Any, depth: int = 0) -> Markup:
    """Return JSON as nested, foldable HTML; long texts as they are, in full width."""
    if depth > _DEEPEST:
        return Markup("<span>…</span>")
    if isinstance(value, Mapping):
        pairs = [(str(key), inner) for key, inner in value.items()]
        return _branches(pairs, depth) if pairs else Markup("<span>nothing</span>")
    if isinstance(value, list | tuple) and any(isinstance(v, Mapping | list) for v in value):
        return _branches([(str(i + 1), inner) for i, inner in enumerate(value)], depth)
    if isinstance(value, list | tuple):
        value = ", ".join(str(v) for v in value) or "none"
    text = str(value)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}… ({len(text)} characters in all)"
    tag = "pre" if "\n" in text or len(text) > 80 else "span"
    return Markup(f"<{tag}>{escape(text)}</{tag}>")


def _branches(pairs: list[tuple[str, Any]], depth: int) -> Markup:
    rows = []
    for key, inner in pairs:
        inside = tree(inner, depth + 1)
        if isinstance(inner, Mapping | list | tuple) and inside.startswith("<ul"):
            rows.append(f"<li><details><summary>{escape(key)}</summary>{inside}</details></li>")
        else:
            rows.append(f"<li><b>{escape(key)}</b> {inside}</li>")
    return Markup(f'<ul class="tree">{"".join(rows)}</ul>')


def _text(name: str) -> str:
    return (resources.files(_TEMPLATES) / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
