"""Edits of strings that are learnt from pairs."""

import jax
import numpy as np
import pytest

import noisejax as nj
from noisejax.tabular._learnt.edits import Edit, applied, edits_of, shape

CITIES = ("Bend", "Gary", "Mill Valley", "Chicago", "Boise", "Tampa", "Denver", "Portland")
STATES = ("OR", "IN", "CA", "IL", "ID", "FL", "CO", "ME")


def beers(size=400, seed=0):
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 8, size)
    bitter = rng.integers(10, 99, size)
    return {
        "size": [str(v) for v in rng.choice((12, 16, 8.4), size)],
        "ibu": ["" if empty else str(v) for v, empty in zip(bitter, rng.random(size) < 0.4, strict=True)],
        "city": [CITIES[n] for n in place],
        "state": [STATES[n] for n in place],
    }


def soiled(clean, seed=1):
    """Every size has a unit, empty bitterness is N/A, and in a fifth of the rows the state moves into the city."""
    rng = np.random.default_rng(seed)
    moved = rng.random(len(clean["city"])) < 0.2
    return {
        "size": [v + rng.choice((" oz", " oz.")) if "." in v else v + ".0 oz" for v in clean["size"]],
        "ibu": [v or "N/A" for v in clean["ibu"]],
        "city": [f"{c} {s}" if m else c for c, s, m in zip(clean["city"], clean["state"], moved, strict=True)],
        "state": ["" if m else s for s, m in zip(clean["state"], moved, strict=True)],
    }


CLEAN = beers()
MODEL = nj.tabular.fit_text_errors(CLEAN, soiled(CLEAN))
FRESH = beers(2000, seed=2)
DIRTY = MODEL.apply(jax.random.key(0), FRESH)


def test_edits_depend_on_the_clean_cell():
    for clean, dirty in zip(FRESH["ibu"], DIRTY["ibu"], strict=True):
        assert dirty == (clean or "N/A")
    for clean, dirty in zip(FRESH["size"], DIRTY["size"], strict=True):
        assert dirty in ([clean + " oz", clean + " oz."] if "." in clean else [clean + ".0 oz"])


def test_another_column_is_copied_and_both_are_hit_together():
    moved = 0
    for city, state, was, had in zip(DIRTY["city"], DIRTY["state"], FRESH["city"], FRESH["state"], strict=True):
        assert (city, state) in [(was, had), (f"{was} {had}", "")]
        moved += city != was
    assert abs(moved / 2000 - 0.2) < 4 * np.sqrt(0.2 * 0.8 * (1 / 2000 + 1 / 400))


def test_the_template_is_found_in_50_pairs():
    few = {name: column[:50] for name, column in CLEAN.items()}
    model = nj.tabular.fit_text_errors(few, {name: column[:50] for name, column in soiled(CLEAN).items()})
    assert "' {state}' after" in str(model)


def test_strength_thins_and_thickens():
    np.testing.assert_equal(MODEL.apply(jax.random.key(0), FRESH, 0.0), FRESH)
    clean = {"a": ["x"] * 4000}
    model = nj.tabular.fit_text_errors({"a": ["x"] * 100}, {"a": ["x!" if n % 4 == 0 else "x" for n in range(100)]})
    for strength in (0.5, 1.0, 2.0, 9.0):
        share = np.mean([cell == "x!" for cell in model.apply(jax.random.key(1), clean, strength)["a"]])
        assert abs(share - min(strength / 4, 1)) < 4 * np.sqrt(0.25 / 4000)


def test_a_row_depends_on_its_number_alone():
    for rows in ([5, 6, 7], [1999, 3], []):
        part = {name: [column[row] for row in rows] for name, column in FRESH.items()}
        found = MODEL.apply(jax.random.key(0), part, ids=np.array(rows, np.int32))
        assert found == {name: [column[row] for row in rows] for name, column in DIRTY.items()}
    assert MODEL.apply(jax.random.key(1), FRESH) != DIRTY


def test_a_donor_is_of_the_same_group():
    clean = {"a": ["x"] * 20, "source": ["s", "t"] * 10}
    dirty = {"a": ["x!", "x?"] * 10, "source": ["s", "t"] * 10}
    model = nj.tabular.fit_text_errors(clean, dirty, group="source")
    found = model.apply(jax.random.key(0), {"a": ["x"] * 3, "source": ["t", "s", "unknown"]})["a"]
    assert found[:2] == ["x?", "x!"] and found[2] in ("x!", "x?")


def test_data_frames_and_missing_cells():
    pandas = pytest.importorskip("pandas")
    clean = pandas.DataFrame({"a": ["x", None, "y", None], "b": ["1", "2", "3", "4"]})
    dirty = pandas.DataFrame({"a": ["x", "?", None, "?"], "b": ["1", "2", "3", "4"]})
    model = nj.tabular.fit_text_errors(clean, dirty)
    found = model.apply(jax.random.key(0), clean, 1.0)
    assert found["b"] == ["1", "2", "3", "4"]
    assert found["a"][1] == found["a"][3] == "?"
    assert {found["a"][0], found["a"][2]} <= {"x", "y", None}
    nullable = clean.astype("string")
    assert nullable["a"].isna().sum() == 2
    assert model.apply(jax.random.key(0), nullable) == found


@pytest.mark.parametrize(
    ("before", "after", "edit"),
    [
        ("12", "12 oz", Edit("around", (), (" oz",))),
        ("12", "$12", Edit("around", ("$",), ())),
        ("", "N/A", Edit("to", (), ("N/A",))),
        ("12", "", Edit("to", (), ())),
        ("12", None, Edit("to", (), None)),
        ("Red Ale", "red ale", Edit("case", "lower")),
        ("12.0 oz", "12.0 ounce", Edit("part", "z", ("unce",), "end")),
        ("St. Louis", "Saint Louis", Edit("part", "t.", ("aint",), "inside")),
        ("abc", "xyz", Edit("to", (), ("xyz",))),
        ("same", "same", None),
    ],
)
def test_one_pair_shows_its_edit(before, after, edit):
    (found,) = edits_of([[before]], [after], 0)
    assert found == edit
    if edit is not None:
        assert applied(edit, [before], 0) == after


def test_any_two_texts_make_an_edit_that_leads_from_one_to_the_other():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        before, after = ("".join(rng.choice(list("aAb1 ."), rng.integers(0, 7))) for _ in range(2))
        (edit,) = edits_of([[before]], [after], 0)
        assert (before if edit is None else applied(edit, [before], 0)) == after, (before, after, edit)


def test_a_template_needs_two_different_texts():
    clean = [["p", "q"], ["7", "7"]]
    assert edits_of(clean, ["p 7", "q 7"], 0) == [Edit("around", (), (" 7",))] * 2
    clean[1][1] = "8"
    assert edits_of(clean, ["p 7", "q 8"], 0) == [Edit("around", (), (" ", 1))] * 2


def test_shapes():
    assert [shape(t) for t in ("Mill Valley", "12.05", "USA", "abc-12", "", "Ärger  7")] == [
        "Aa Aa", "9.9", "A", "a-9", "", "Aa 9"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("clean", "dirty", "message"),
    [
        ({"a": ["x"]}, {"b": ["x"]}, "dirty has no column 'a'"),
        ({"a": ["x"]}, {"a": ["x", "y"]}, "the same rows"),
        ({"a": ["x"], "b": []}, {"a": ["x"], "b": []}, "of one length"),
        ({"a": []}, {"a": []}, "the same rows"),
        (["x"], ["x"], "columns by name"),
    ],
)
def test_wrong_tables_are_named(clean, dirty, message):
    with pytest.raises((TypeError, ValueError), match=message):
        nj.tabular.fit_text_errors(clean, dirty)


def test_apply_names_what_does_not_fit():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="rows has no column 'size'"):
        MODEL.apply(key, {"city": ["Bend"]})
    with pytest.raises(ValueError, match="strength"):
        MODEL.apply(key, FRESH, -1.0)
    with pytest.raises(ValueError, match="ids must have shape"):
        MODEL.apply(key, FRESH, ids=np.arange(3))
    with pytest.raises(ValueError, match="group must be one of the columns"):
        nj.tabular.fit_text_errors(CLEAN, CLEAN, group="nobody")
