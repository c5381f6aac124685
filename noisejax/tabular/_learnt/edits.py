"""Edits of one cell of text, read from a pair of a clean and a dirty cell, and applied to other cells."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

Template = tuple[str | int, ...]  # literal text, and the places of other columns whose clean text is inserted

CASES = {"lower": str.lower, "upper": str.upper, "title": str.title, "strip": str.strip}


class Edit(NamedTuple):
    """One edit: `'around'` puts text before and after, `'part'` replaces a part, `'case'` changes letters, and `'to'`
    replaces the text.

    Args:
      kind: as above.
      before: the template before the text; the part that is replaced; or the name of the change of letters.
      after: the template after the text, or in place of the part or of the text. None for `'to'` is a missing cell.
      where: for a part, `'start'`, `'end'` or `'inside'`.
    """

    kind: str
    before: Any = ()
    after: Any = ()
    where: str = ""

    def described(self, names: Sequence[Any]) -> str:
        def shown(template: Template) -> str:
            return "".join(part if isinstance(part, str) else f"{{{names[part]}}}" for part in template)

        if self.kind == "around":
            parts = [repr(shown(t)) + side for t, side in ((self.before, " before"), (self.after, " after")) if t]
            return " and ".join(parts)
        if self.kind == "part":
            return f"{self.before!r} to {shown(self.after)!r} ({self.where})"
        if self.kind == "case":
            return f"letters: {self.before}"
        return "missing" if self.after is None or self.after == () else f"always {shown(self.after)!r}"


def applied(edit: Edit, cells: Sequence[str], c: int) -> Any:
    """The cell `c` of a clean row after an edit. An edit that does not fit the cell leaves it as it is."""
    text = cells[c]

    def filled(template: Template) -> str:
        return "".join(part if isinstance(part, str) else cells[part] for part in template)

    if edit.kind == "to":
        return None if edit.after is None else filled(edit.after)
    if not text:
        return text
    if edit.kind == "around":
        return filled(edit.before) + text + filled(edit.after)
    if edit.kind == "case":
        return CASES[edit.before](text)
    old, new = edit.before, filled(edit.after)
    if edit.where == "start":
        return new + text[len(old) :] if text.startswith(old) else text
    if edit.where == "end":
        return text[: len(text) - len(old)] + new if text.endswith(old) else text
    return text.replace(old, new, 1)


def edits_of(clean: Sequence[Sequence[str]], dirty: Sequence[Any], c: int) -> list[Edit | None]:
    """The edit of each cell of column `c`, None where it is unchanged."""
    literal = [_edit(column, after) for column, after in zip(clean[c], dirty, strict=True)]
    templates = [
        [] if edit is None else list(_templates(edit, [column[row] for column in clean], c))
        for row, edit in enumerate(literal)
    ]
    # A template must explain pairs with different texts. Otherwise two columns agree by chance.
    evidence: dict[Edit, set] = defaultdict(set)
    for edit, found in zip(literal, templates, strict=True):
        for template in found:
            evidence[template].add(edit)
    result = []
    for edit, found in zip(literal, templates, strict=True):
        best = max(found, key=lambda template: len(evidence[template]), default=None)
        result.append(edit if best is None or len(evidence[best]) < 2 else best)
    return result


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN, or pandas' NA, whose comparisons are neither true nor false."""
    return not isinstance(cell, str) and (cell is None or str(cell) in ("<NA>", "NaT") or bool(cell != cell))


def _edit(before: str, after: Any) -> Edit | None:
    if is_missing(after):
        return Edit("to", (), None) if before else None
    after = str(after)
    if after == before:
        return None
    if not before or not after:
        return Edit("to", (), _literal(after))
    for name, change in CASES.items():
        if change(before) == after:
            return Edit("case", name)
    if before in after:
        start = after.index(before)
        return Edit("around", _literal(after[:start]), _literal(after[start + len(before) :]))
    start = _common(before, after)
    end = min(_common(before[::-1], after[::-1]), min(len(before), len(after)) - start)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if 2 * len(old) > len(before):  # little is left of the text
        return Edit("to", (), _literal(after))
    # The part takes characters before it along until it is the first of its kind: an insertion has none of its own.
    while start and (not old or before.index(old) != start):
        start -= 1
        old, new = before[start : len(before) - end], after[start : len(after) - end]
    if not old:  # an insertion at the start takes the character after it along
        end -= 1
        old, new = before[: len(before) - end], after[: len(after) - end]
    where = "end" if end == 0 else "start" if start == 0 else "inside"
    return Edit("part", old, _literal(new), where)


def _templates(edit: Edit, cells: Sequence[str], c: int):
    """The edit with the text of one other column in place of the same literal text."""
    for field in ("before", "after"):
        template = getattr(edit, field)
        if not template or not isinstance(template, tuple) or not isinstance(template[0], str):
            continue
        for other, text in enumerate(cells):
            if other == c or not text:
                continue
            found = re.search(rf"(?<!\w){re.escape(text)}(?!\w)", template[0])
            if found:
                parts = (template[0][: found.start()], other, template[0][found.end() :])
                yield edit._replace(**{field: tuple(part for part in parts if part != "")})


def _literal(text: str) -> Template:
    return (text,) if text else ()


def _common(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def shape(text: str) -> str:
    """The kinds of characters of a text: 'Mill Valley' is 'Aa Aa', and '12.0' is '9.9'."""
    text = re.sub(r"[^\W\d_]+", lambda word: _letters(word[0]), text)
    return re.sub(r"\s+", " ", re.sub(r"\d+", "9", text))


def _letters(word: str) -> str:
    if word.islower():
        return "a"
    return "A" if word.isupper() and len(word) > 1 else "Aa"
