"""The description of a table's columns."""

import numpy as np
import pytest

import noisejax as nj

Column, Schema = nj.tabular.Column, nj.tabular.Schema
SCHEMA = Schema(
    [Column("age", "integer", low=0, high=120), Column("job", "category", ("a", "b", "c")), Column("ok", "flag")]
)


def test_places_names_and_groups():
    assert SCHEMA.names == ("age", "job", "ok") and len(SCHEMA) == 3
    assert SCHEMA.places("category", "flag") == (1, 2)
    assert SCHEMA.groups == (0, 1, 1, 1, 2, 2)
    assert SCHEMA["job"].classes == ("a", "b", "c") and SCHEMA["ok"].classes == (False, True)


def test_it_is_static():
    again = Schema(list(SCHEMA))
    assert again == SCHEMA and hash(again) == hash(SCHEMA)
    assert SCHEMA.replace("age", high=99) != SCHEMA
    assert SCHEMA["age"].high == 120


def test_the_repr_makes_it_again_and_the_text_is_a_table():
    assert eval(repr(SCHEMA), {"nj": nj}) == SCHEMA
    assert str(SCHEMA).splitlines() == [
        "age  integer   0 to 120",
        "job  category  3 classes: a, b, c",
        "ok   flag      2 classes: False, True",
    ]


def test_labels_of_numpy_become_plain():
    assert Column("a", "category", np.array([3, 5])).classes == (3, 5)
    assert type(Column("a", "category", np.array([3, 5])).classes[0]) is int


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Column("a", "float"), "kind must be one of"),
        (lambda: Column(Column), "name must be a name"),
        (lambda: Column(len), "name must be a name"),
        (lambda: Column(["a"]), "name must be hashable"),
        (lambda: Column("a", "category"), "needs its classes"),
        (lambda: Column("a", "category", "abc"), "must be a tuple of classes"),
        (lambda: Column("a", "category", ("x", "x")), "must be different"),
        (lambda: Column("a", "number", ("x", "y")), "which has no classes"),
        (lambda: Column("a", "flag", ("x", "y", "z")), "must have two classes"),
        (lambda: Column("a", low=2, high=1), "low of 'a' must be at most high"),
        (lambda: Schema([Column("a"), Column("a")]), "two columns have the name 'a'"),
        (lambda: Schema(["a"]), "must be Column values"),
        (lambda: SCHEMA.place("b"), "no column 'b'"),
        (lambda: SCHEMA.places("text"), "kind must be one of"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        make()
