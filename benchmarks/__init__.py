"""Programs that measure: each prints a table against peers and limits, and writes results/<name>.json."""
