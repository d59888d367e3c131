"""Pages and images that show a result: of one run, of many runs, and of a benchmark."""

from coprop_plugin.report.bench_plot import bench_plot
from coprop_plugin.report.calls_plot import calls_plot
from coprop_plugin.report.clips_page import write_clips_page
from coprop_plugin.report.film_strip import film_strip
from coprop_plugin.report.leaderboard_page import write_leaderboard
from coprop_plugin.report.many import RunOutcome, export_runs, find_runs, write_reports
from coprop_plugin.report.page_video import PageVideo
from coprop_plugin.report.read_bench import read_bench
from coprop_plugin.report.read_run import Layer, Run, read_run
from coprop_plugin.report.reasons import Reason, reasons_of
from coprop_plugin.report.run_page import Report, render_run_page, write_report

__all__ = [
    "Layer",
    "PageVideo",
    "Reason",
    "Report",
    "Run",
    "RunOutcome",
    "bench_plot",
    "calls_plot",
    "export_runs",
    "film_strip",
    "find_runs",
    "read_bench",
    "read_run",
    "reasons_of",
    "render_run_page",
    "write_clips_page",
    "write_leaderboard",
    "write_report",
    "write_reports",
]
