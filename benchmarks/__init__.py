"""Benchmarks. Each program prints a table with peers and limits, and writes results/<name>.json."""
