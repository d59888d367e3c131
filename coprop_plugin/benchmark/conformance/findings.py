"""What a conformance run found: one finding a rule, and the report of all of them."""

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coprop_plugin.errors import CopropError, short_reason

Status = Literal["passed", "failed", "warning", "skipped", "measured"]
"""How a rule came out. A warning and a measurement fail nothing."""

PartKind = Literal["backend", "provider", "propagator"]
"""The kinds of parts that can be checked."""

_WIDTH = 120
_STYLES: dict[Status, str] = {"failed": "bold red", "warning": "yellow", "passed": "green"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """The outcome of one rule.

    Args:
        status: See `Status`.
        text: What was measured; of what failed, what was expected, what came, and what to change.
    """

    status: Status
    text: str = ""


PASSED = Verdict("passed")

Rule = Callable[[], Verdict]
"""Checks one rule; what it raises counts as a failure of the part."""


@dataclass(frozen=True)
class Finding:
    """A rule and its outcome.

    Args:
        rule: The name of the rule.
        status: See `Status`.
        text: See `Verdict`.
    """

    rule: str
    status: Status
    text: str = ""


@dataclass(frozen=True)
class ConformanceReport:
    """What a conformance run found.

    Args:
        kind: The kind of part.
        part: Its name.
        findings: One for each rule, in the order in which they were checked.

    Example:
        >>> report = ConformanceReport("provider", "mine", [Finding("one flag a frame", "passed")])
        >>> report.failed
        False
    """

    kind: PartKind
    part: str
    findings: list[Finding]

    @property
    def failed(self) -> bool:
        """Whether a rule is broken."""
        return any(finding.status == "failed" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"failed": self.failed}

    def __str__(self) -> str:
        """Return a table for a terminal."""
        table = Table("", "rule", "", box=box.SIMPLE_HEAD, show_header=False, padding=(0, 1))
        for finding in self.findings:
            style = _STYLES.get(finding.status, "dim")
            table.add_row(finding.status, finding.rule, escape(finding.text), style=style)
        counts = {s: sum(f.status == s for f in self.findings) for s in ("passed", "failed")}
        title = f"{self.kind} {self.part}: {counts['passed']} passed, {counts['failed']} failed"
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(escape(title), table)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip()


def check_rules(
    kind: PartKind, part: str, rules: Iterable[tuple[str, Rule]], required: str
) -> ConformanceReport:
    """Check rules one after the other; what one raises does not stop the others.

    Args:
        kind: The kind of part.
        part: Its name.
        rules: The rules by name.
        required: A rule that those after it need: once it is broken, they are skipped.
    """
    findings: list[Finding] = []
    broken = False
    for name, rule in rules:
        if broken:
            verdict = Verdict("skipped", f"It needs {required!r}.")
        else:
            verdict = _checked(name, rule)
        findings.append(Finding(name, verdict.status, verdict.text))
        broken |= name == required and verdict.status == "failed"
    return ConformanceReport(kind, part, findings)


def _checked(name: str, rule: Rule) -> Verdict:
    try:
        return rule()
    except Exception as error:  # The part is someone else's code and may raise anything.
        if not isinstance(error, CopropError):
            logger.info("%s raised", name, exc_info=True)
        return Verdict("failed", f"It raised {type(error).__name__}: {short_reason(error)}")
