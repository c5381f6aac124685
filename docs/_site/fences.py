"""Fences of Markdown as the cells of a notebook."""

import re

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$", re.DOTALL | re.MULTILINE)
HEADER = """---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3}
---
"""


def executed(text: str) -> str:
    """The page with its blocks of Python as cells of a notebook. A fence marked `python no-run` is only shown."""

    def cell(block: re.Match) -> str:
        info = block["info"].strip()
        if info == "python no-run":
            return block[0].replace("```python no-run", "```python", 1)
        if info != "python" or block["indent"]:
            return block[0]
        return block[0].replace("```python", "```{code-cell} python", 1)

    changed = FENCE.sub(cell, text)
    return HEADER + changed if "```{code-cell}" in changed else changed
