"""A pytest hook that prints which files of tests take the longest, so that a slow one is noticed when it is written."""

import collections


def pytest_terminal_summary(terminalreporter):
    seconds = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                seconds[report.nodeid.split("::")[0]] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("slowest files")
        for file, total in seconds.most_common(10):
            terminalreporter.write_line(f"{total:7.1f} s  {file}")
