"""A generator of bad input: every public callable, called rightly but for one argument.

`surface` finds the callables by walking the public names. The table in tests/cases gives a right call of every noise,
and `calls` of everything else. `mutations` makes the wrong arguments, `judge` tells a right result and a clear error
from an internal error and a silent wrong result, and `generate` draws, calls and counts::

    python -m tests.bad_input 10000
"""
