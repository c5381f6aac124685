"""A progress bar for long tables, if rich is installed."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_of(shown: bool, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how many cells are done."""
    if not shown:
        yield lambda count: None
        return
    try:
        from rich.progress import Progress
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "corrupt: a progress bar needs rich: pip install rich. Or leave out progress."
        ) from None
    with Progress(transient=True) as bar:
        task = bar.add_task("corrupt", total=total)
        yield lambda count: bar.advance(task, count)
