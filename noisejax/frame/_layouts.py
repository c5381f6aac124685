"""Which column each feature of a fitted scikit-learn or skrub transformer comes from."""

from typing import Any, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The features that a fitted transformer makes of a table.

    Args:
      columns: the names of the columns that become features, in the order of their first feature. Features that mix
        several columns have a tuple of their names.
      groups: for each feature, the index of its column in `columns`, for the option `groups` of `noisejax.mask` and
        others: the features of a category are then hit together.
      features: the names of the features, where the transformer knows them, else empty.
    """

    columns: tuple
    groups: tuple[int, ...]
    features: tuple[str, ...]


def layout(transformer: Any) -> Layout:
    """Reads the layout of a fitted scikit-learn `ColumnTransformer` or skrub `TableVectorizer`.

    It is for models whose input is already one-hot. Faults of the table itself need no layout: corrupt the frame, or
    its codes before `noisejax.tabular.one_hot`.

    Args:
      transformer: a fitted transformer.

    Returns:
      A `Layout`: the columns, and for each feature the number of its column.

    Raises:
      TypeError: a different transformer, or one that is not fitted.

    Example:
      >>> import jax, pandas as pd, noisejax as nj
      >>> from noisejax import frame
      >>> from sklearn.compose import ColumnTransformer
      >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
      >>> df = pd.DataFrame({"job": ["cook", "nurse", "cook"], "age": [31.0, 45.0, 27.0]})
      >>> made = ColumnTransformer([("a", OneHotEncoder(), ["job"]), ("b", StandardScaler(), ["age"])])
      >>> x = made.fit_transform(df)
      >>> columns, groups, _ = frame.layout(made)
      >>> columns, groups
      (('job', 'age'), (0, 0, 1))
      >>> nj.mask(jax.random.key(0), x, 0.5, groups=groups).shape
      (3, 3)
    """
    if hasattr(transformer, "input_to_outputs_"):  # skrub
        inverse = {output: name for name, outputs in transformer.input_to_outputs_.items() for output in outputs}
        outputs = list(transformer.all_outputs_)
        return _grouped([inverse[output] for output in outputs], tuple(map(str, outputs)))
    if not (hasattr(transformer, "transformers_") and hasattr(transformer, "output_indices_")):
        raise TypeError(
            "layout: transformer must be a fitted ColumnTransformer of scikit-learn or TableVectorizer of skrub, got a "
            f"{type(transformer).__name__}."
        )
    sources: dict[int, Any] = {}
    for name, part, columns in transformer.transformers_:
        where = transformer.output_indices_.get(name, slice(0, 0))
        size = where.stop - where.start
        if not size:
            continue
        names = _names(transformer, columns)
        for offset, source in enumerate(_sources(part, names, size)):
            sources[where.start + offset] = source
    return _grouped([sources[n] for n in range(len(sources))], _features(transformer))


def _grouped(sources: list, features: tuple[str, ...]) -> Layout:
    columns = tuple(dict.fromkeys(sources))
    place = {column: n for n, column in enumerate(columns)}
    return Layout(columns, tuple(place[source] for source in sources), features)


def _features(transformer: Any) -> tuple[str, ...]:
    try:
        return tuple(map(str, transformer.get_feature_names_out()))
    except (AttributeError, ValueError):  # a part of it does not name its features
        return ()


def _names(transformer: Any, columns: Any) -> list:
    every: list[Any] = list(getattr(transformer, "feature_names_in_", range(transformer.n_features_in_)))
    if isinstance(columns, (str, int, np.integer)):
        columns = [columns]
    if isinstance(columns, slice):
        start, stop = (every.index(end) if isinstance(end, str) else end for end in (columns.start, columns.stop))
        stop = stop + 1 if isinstance(columns.stop, str) else stop  # a slice of names includes its end
        return every[slice(start, stop, columns.step)]
    columns = np.asarray(columns)
    if columns.dtype == bool:
        return [every[n] for n in np.flatnonzero(columns)]
    return [every[c] if isinstance(c, (int, np.integer)) else c for c in columns.tolist()]


def _sources(part: Any, names: list, size: int) -> list:
    """The column of each feature of one part."""
    steps = getattr(part, "steps", None)
    last = steps[-1][1] if steps else part
    if getattr(last, "categories_", None) is not None and hasattr(last, "drop_idx_"):  # OneHotEncoder
        counts = [_count(last, n) for n in range(len(last.categories_))]
        if sum(counts) == size and len(counts) == len(names):
            return [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    if size == len(names) and _unchanged(part, names):
        return names
    if len(names) == 1:
        return names * size
    return [tuple(names)] * size  # it mixes its columns


def _unchanged(part: Any, names: list) -> bool:
    """Whether a part has one feature for each of its columns, which it then names as the column."""
    try:
        return list(part.get_feature_names_out(list(map(str, names)))) == list(map(str, names))
    except (AttributeError, ValueError):
        return part == "passthrough"


def _count(encoder: Any, n: int) -> int:
    """The number of features of the encoder's column n."""
    count = len(encoder.categories_[n])
    rare = getattr(encoder, "infrequent_categories_", None)
    if rare is not None and rare[n] is not None:
        count -= len(rare[n]) - 1
    dropped = encoder.drop_idx_
    return count - (dropped is not None and dropped[n] is not None)
