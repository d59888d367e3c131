"""Pictures and pages of what was found."""

from coprop_plugin.report.clips_page import write_clips_page
from coprop_plugin.report.film_strip import film_strip
from coprop_plugin.report.many import export_runs, find_runs, write_reports
from coprop_plugin.report.page import Report, write_report

__all__ = [
    "Report",
    "export_runs",
    "film_strip",
    "find_runs",
    "write_clips_page",
    "write_report",
    "write_reports",
]
