"""Experiments behind claims of the documentation. Each program states its protocol and writes results/<name>.json."""

import datetime
import os
import platform

import jax


def measured() -> str:
    """When, where and with what a result was measured."""
    now = datetime.datetime.now(datetime.UTC).date()
    device = (
        f"{os.cpu_count()} cores of {platform.machine()}"
        if jax.default_backend() == "cpu"
        else jax.devices()[0].device_kind
    )
    return f"{now}, {device}, jax {jax.__version__}"
