"""The laws of one case run after one another, on one worker, which then has the programs that they share."""

import pathlib

FOLDER = pathlib.Path(__file__).parent


def case_of(item):
    return item.callspec.params.get("case") if item.path.parent == FOLDER and hasattr(item, "callspec") else None


def pytest_collection_modifyitems(items):
    """Only laws change places, and only among themselves."""
    places = [n for n, item in enumerate(items) if case_of(item) is not None]
    laws = [items[n] for n in places]
    order = {case: n for n, case in reversed(list(enumerate(map(case_of, laws))))}
    for n, item in zip(places, sorted(laws, key=lambda item: order[case_of(item)]), strict=True):
        items[n] = item
