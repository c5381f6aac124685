"""Frames to arrays of numbers and codes and back, the schema, and layouts of fitted transformers."""

import re

import jax
import numpy as np
import pytest
from frames import BACKENDS, assert_same, columns, make, values

import noisejax as nj
from noisejax import frame

pandas = pytest.importorskip("pandas", reason="pandas is not installed")
T = nj.tabular
each = pytest.mark.parametrize("backend", BACKENDS)


@each
def test_the_schema_is_inferred_printed_and_edited(backend):
    schema = frame.schema(make(backend))
    assert schema.names == ("number", "whole", "holes", "flag", "job", "when")  # text is left out
    assert schema.kinds == ("number", "integer", "integer", "flag", "category", "datetime")
    assert set(schema["job"].classes) == {"clerk", "cook", "nurse"}
    assert schema["whole"].low == 2**60 and schema["whole"].high == 2**60 + 59
    assert str(schema).splitlines()[3].split() == ["flag", "flag", "2", "classes:", "False,", "True"]
    assert schema.replace("number", low=0)["number"].low == 0


@each
def test_there_and_back(backend):
    clean = make(backend)
    x, schema, host = frame.encode(clean)
    assert x.dtype == np.float32 and x.shape == (60, 3)
    assert schema.names == ("number", "flag", "job") and host == ("whole", "holes", "note", "when")
    number, _, job = x.T
    assert np.isnan(number)[4::5].all() and np.isnan(job)[4::5].all() and not np.isnan(number)[:4].any()
    assert [None if np.isnan(c) else schema["job"].classes[int(c)] for c in job] == columns()["job"]
    assert_same(frame.decode(x, schema, like=clean), clean)
    dirty = np.array(nj.on_columns(nj.bind(T.missing, rate=0.5), (0, 1, 2))(jax.random.key(0), x))
    again = frame.decode(dirty, schema, like=clean)
    np.testing.assert_array_equal(frame.encode(again, schema).x, dirty)
    assert values(again, "whole") == values(clean, "whole")
    assert T.one_hot(x, schema).shape == (60, 1 + 2 + 3)


def test_the_model_s_input_is_made_inside_jit_after_the_faults():
    x, schema, _ = frame.encode(make("pandas"))
    noise = nj.on_columns(nj.bind(T.category, rate=1.0, num_classes=3), (schema.place("job"),))
    made = jax.jit(lambda key, x: T.one_hot(noise(key, x), schema))(jax.random.key(0), x)
    assert ((made[:, 3:].sum(1) == 1) == ~np.isnan(x[:, 2])).all()
    assert not (made[:, 3:] * T.one_hot(x, schema)[:, 3:]).any()  # no class is the old one


def test_decode_without_a_frame():
    x = np.array([[1.5, 1, 0, 30], [np.nan, np.nan, 1, np.nan]], np.float32)
    schema = T.Schema({"a": "number", "job": ("cook", "nurse"), "flag": "flag", "age": "integer"})
    made = frame.decode(x, schema)
    assert made["job"].tolist()[0] == "nurse" and made["flag"].tolist() == [False, True]
    assert str(made["age"].dtype) == "Int64" and made.isna().sum().tolist() == [1, 1, 0, 1]


def test_integers_beyond_float32_stay_or_are_named():
    clean = pandas.DataFrame({"age": [30, 2**24 + 1, 5], "id": [1, 2, 2**40 + 1]})
    assert frame.encode(clean).host == ("age", "id")
    schema = T.Schema({"age": "integer"})
    with pytest.raises(
        ValueError, match=r"encode: the column 'age' holds 16777217 in row 1, which float32 cannot hold"
    ):
        frame.encode(clean, schema)
    assert frame.encode(clean.replace(2**24 + 1, 2**24), schema).x[1, 0] == 2**24
    with pytest.raises(ValueError, match=r"the column 'id' of kind 'integer' holds .* in row 2"):
        T.fit(clean.to_numpy()[:, 1:], T.Schema({"id": "integer"}))


def test_classes_may_be_numbers():
    clean = pandas.DataFrame({"rooms": [2, 4, 3, 2, 4] * 10})
    schema = T.Schema([T.Column("rooms", "ordinal", (2, 3, 4))])
    x, _, _ = frame.encode(clean, schema)
    assert x[:5, 0].tolist() == [0, 2, 1, 0, 2]
    assert frame.decode(x, schema, like=clean).equals(clean)
    wrong = [("rooms", nj.bind(T.category, rate=1.0, num_classes=3))]
    dirty, mask = frame.corrupt(jax.random.key(0), clean, wrong, schema=schema)
    assert mask["rooms"].all() and set(dirty["rooms"]) == {2, 3, 4} and dirty["rooms"].dtype == clean["rooms"].dtype
    with pytest.raises(ValueError, match="encode: the column 'rooms' holds 5 in row 2, which is none"):
        frame.encode(clean.replace(3, 5), schema)


def test_wrong_schemas_and_codes():
    clean = make("pandas")
    x, schema, _ = frame.encode(clean)
    with pytest.raises(ValueError, match="df has no column 'sex', which is in the schema"):
        frame.encode(clean, T.Schema({"sex": "flag"}))
    with pytest.raises(TypeError, match=r"schema must be a noisejax.tabular.Schema, got \{\}"):
        frame.encode(clean, {})
    with pytest.raises(TypeError, match="the column 'note' of kind 'number' has the dtype String"):
        frame.encode(clean, T.Schema({"note": "number"}))
    with pytest.raises(ValueError, match=re.escape("x must have shape (rows, 3), as the schema says, got (60, 2)")):
        frame.decode(x[:, :2], schema, like=clean)
    with pytest.raises(ValueError, match="x has 10 rows, and like 60"):
        frame.decode(x[:10], schema, like=clean)
    x[7, 2] = 1.5
    with pytest.raises(ValueError, match=r"the column 'job' of x must hold the codes 0 to 2 or NaN, got 1.5 in row 7"):
        frame.decode(x, schema, like=clean)
    with pytest.raises(ValueError, match="max_classes must be an integer of at least 1, got 0"):
        frame.schema(clean, max_classes=0)
    assert "note" in frame.schema(pandas.DataFrame({"note": ["a", "b"] * 9})).names
    assert frame.schema(pandas.DataFrame({"note": ["a", "b"] * 9}), max_classes=1).names == ()


def test_layouts_of_scikit_learn():
    compose = pytest.importorskip("sklearn.compose", reason="scikit-learn is not installed")
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    df = pandas.DataFrame(
        {"a": [1.0, 2, 4, 8], "b": [1.0, 0, 3, 1], "job": list("xyzx"), "sex": list("mfmf"), "z": range(4)}
    )
    encoder = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(drop="if_binary"))
    parts = [("one", encoder, ["job", "sex"]), ("two", StandardScaler(), ["b"]), ("three", PCA(2), ["a", "b"])]
    made = compose.ColumnTransformer(parts, remainder="passthrough").fit(df)
    found = frame.layout(made)
    assert found.groups == (0, 0, 0, 1, 2, 3, 3, 4)
    assert found.columns == ("job", "sex", "b", ("a", "b"), "z")
    assert len(found.groups) == made.transform(df).shape[1]
    rare = compose.ColumnTransformer([("one", OneHotEncoder(min_frequency=2), ["job"])]).fit(df)
    assert frame.layout(rare).groups == (0, 0)
    by_place = compose.ColumnTransformer([("one", "passthrough", slice(0, 2)), ("no", "drop", [4])]).fit(df)
    assert frame.layout(by_place).columns == ("a", "b")
    with pytest.raises(TypeError, match="transformer must be a fitted ColumnTransformer"):
        frame.layout(compose.ColumnTransformer(parts))


def test_layouts_of_skrub():
    skrub = pytest.importorskip("skrub", reason="skrub is not installed")
    df = pandas.DataFrame({"a": [1.0, 2, 4, 8], "job": list("xyzx"), "sex": list("mfmf")})
    made = skrub.TableVectorizer().fit(df)
    found = frame.layout(made)
    assert found.columns == ("a", "job", "sex") and found.groups == (0, 1, 1, 1, 2)
    assert len(found.groups) == made.transform(df).shape[1] == len(found.features)
