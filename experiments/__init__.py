"""Experiments behind claims of the documentation. Each program states its protocol and writes results/<name>.json."""
