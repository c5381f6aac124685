"""Numbers in running text stay on one line with their signs."""

import re

BREAKS = re.compile(r"(?<=[±≥≤])\s(?=\d)|(?<=\d)\s(?=%)")


def unbroken(text: str) -> str:
    """The text, in which no line can end after "±", "≥" or "≤", or before "%"."""
    return BREAKS.sub("\N{NO-BREAK SPACE}", text)
