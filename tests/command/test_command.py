"""The command line, as it is called: what it prints and writes, and its errors."""

import hashlib
import json

import numpy as np
import pytest

import noisejax as nj
from noisejax import robustness
from noisejax._command import table
from noisejax._command.main import main

pd = pytest.importorskip("pandas")
pytest.importorskip("rich")
pytest.importorskip("flax")
pytestmark = pytest.mark.filterwarnings("ignore:sweep")

OWN = ["report", "data.csv", "--target", "buys", "--model"]
MODEL = (
    "import numpy as np\ndef predict(df):\n    return np.where(df['age'].fillna(40) > 43, 'yes', 'no')\nnumber = 3\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    age, job = rng.normal(40, 10, 200).round(1), rng.choice(["cook", "nurse", "clerk"], 200)
    buys = np.where(age / 10 + 2 * (job == "nurse") > 4.6, "yes", "no")
    frame = pd.DataFrame({"age": age, "job": job, "kids": rng.integers(0, 4, 200), "buys": buys})
    frame.loc[rng.random(200) < 0.1, "age"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.assign(price=10 * age).to_parquet(tmp_path / "data.parquet")
    (tmp_path / "a_model_of_mine.py").write_text(MODEL)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "bad.csv").write_text('a,b\n1,2\n3,4,5\n"')
    (tmp_path / "constant.csv").write_text("a,b\n" + 30 * "1,same\n")
    (tmp_path / "alone.csv").write_text("b\n" + 30 * "1\n2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_table_is_encoded_by_hand():
    frame = pd.DataFrame({"n": [1.0, np.nan, 3.0] * 10, "c": ["a", "b", None] * 10, "y": [0, 1, 1] * 10})
    found = table.table(frame, "y", None)
    assert found.names == ["n", "c"] and found.groups == (0, 1, 1) and found.numbers == (0,)
    np.testing.assert_array_equal(found.x[:3], [[1, 1, 0], [np.nan, 0, 1], [3, 0, 0]])
    np.testing.assert_array_equal(found.fill, [2, 1, 0])
    assert found.classes == ["0", "1"] and found.y.tolist() == [0, 1, 1] * 10
    numbers = table.table(frame, "y", "regression")
    assert numbers.classes == [] and numbers.y.dtype == np.float32
    assert table.table(frame.assign(y=np.linspace(0, 1, 30)), "y", None).classes == []
    some = table.table(frame.assign(y=["u", None, "v"] * 10), "y", None)
    assert len(some.y) == 20 and some.classes == ["u", "v"]


@pytest.mark.slow
def test_preview_shows_what_noise_does_and_leaves_the_file(folder, capsys):
    before = digest(folder / "data.csv")
    args = [
        "preview",
        "data.csv",
        "--noise",
        "gaussian:std=5",
        "--noise",
        "tabular.missing:rate=0.3",
        "--picture",
        "p.png",
    ]
    assert main(args) == 0
    printed = capsys.readouterr().out
    assert "200 rows" in printed and "PSI" in printed and (folder / "p.png").stat().st_size > 5000
    ages = next(line for line in printed.splitlines() if "age" in line)
    assert "100.0%" not in ages and "%" in ages
    noise = nj.bind(nj.tabular.missing, rate=1.0)
    (folder / "noise.json").write_text(json.dumps(noise.to_dict()))
    assert main(["preview", "data.parquet", "--noise", "noise.json", "--columns", "job"]) == 0
    jobs = next(line for line in capsys.readouterr().out.splitlines() if "job" in line)
    assert "0 values" in jobs and "100.0%" in jobs
    assert digest(folder / "data.csv") == before


def test_report_of_a_model_of_ones_own(folder, capsys):
    args = [
        "report",
        "data.csv",
        "--target",
        "buys",
        "--model",
        "a_model_of_mine:predict",
        "--html",
        "r.html",
        "--json",
        "r.json",
    ]
    assert main(args) == 0
    printed = capsys.readouterr().out
    assert "missing" in printed and "keeps 95 %" in printed
    report = robustness.Report.from_json((folder / "r.json").read_text())
    frame = pd.read_csv("data.csv")
    right = np.where(frame["age"].fillna(40) > 43, "yes", "no") == frame["buys"]
    assert abs(report.clean().mean - right.mean()) < 0.15 and report.examples == 60
    assert report.interval("missing", 0.5).mean < report.clean().mean
    assert "<script" in (folder / "r.html").read_text()


@pytest.mark.slow
def test_report_of_the_small_network_and_advice(folder, capsys):
    before = digest(folder / "data.parquet")
    args = ["report", "data.parquet", "--target", "buys", "--seeds", "2", "--epochs", "20", "--json", "r.json"]
    assert main(args) == 0
    printed = capsys.readouterr().out
    assert "feature wrong" in printed and "noises to start with" in printed
    report = robustness.Report.from_json((folder / "r.json").read_text())
    assert report.clean().mean > 0.8 and report.models == 2
    assert {row.column for row in report.sensitivity()["feature wrong"]} == {"age", "job", "kids", "price"}
    assert main(["report", "data.parquet", "--target", "price", "--seeds", "1", "--epochs", "2"]) == 0  # a regression
    assert digest(folder / "data.parquet") == before


@pytest.mark.slow
def test_tune_chooses_and_writes_a_noise(folder, capsys):
    args = [
        "tune",
        "data.csv",
        "--target",
        "buys",
        "--seeds",
        "2",
        "--epochs",
        "3",
        "--budget",
        "5",
        "--json",
        "t.json",
    ]
    assert main(args) == 0
    assert "Pareto front" in capsys.readouterr().out
    found = robustness.Tuned.from_json((folder / "t.json").read_text())
    assert [c.name for c in found.candidates] == ["", "masking", "swapping", "gaussian", "mixup", "mixture"]


ERRORS = {
    "no file": (["report", "none.csv", "--target", "a"], "there is no file 'none.csv'"),
    "kind": (["report", "broken.py", "--target", "a"], "must be a CSV or Parquet file"),
    "damaged": (["report", "bad.csv", "--target", "a"], "cannot be read as a table"),
    "target": (["report", "data.csv", "--target", "x"], "there is no column 'x'. The columns are 'age', 'job'"),
    "constant": (["report", "constant.csv", "--target", "b"], "at least two different values, got 'same' alone"),
    "alone": (["tune", "alone.csv", "--target", "b"], "must have columns besides the target"),
    "task": (["report", "data.csv", "--target", "buys", "--task", "regression"], "needs a target of numbers"),
    "model": ([*OWN, "model"], "--model must be module:function"),
    "module": ([*OWN, "absent:f"], "'absent' cannot be imported"),
    "raises": ([*OWN, "broken:f"], "ZeroDivisionError"),
    "function": ([*OWN, "a_model_of_mine:f"], "has no function 'f'"),
    "number": ([*OWN, "a_model_of_mine:number"], "has no function 'number'"),
    "metric": ([*OWN, "a_model_of_mine:predict", "--metric", "x"], "metrics"),
    "noise": (["preview", "data.csv", "--noise", "gauss:std=1"], "there is no noise 'gauss'"),
    "private": (["preview", "data.csv", "--noise", "_noises.additive.gaussian:std=1"], "there is no noise"),
    "amount": (["preview", "data.csv", "--noise", "gaussian:std=much"], "'std=much' must be an amount and a number"),
    "range": (["preview", "data.csv", "--noise", "gaussian:std=-1"], "std must be at least 0"),
    "column": (["preview", "data.csv", "--noise", "gaussian:std=1", "--columns", "x"], "x"),
    "json": (["preview", "data.csv", "--noise", "none.json"], "cannot be read as the JSON of a noise"),
    "output": ([*OWN, "a_model_of_mine:predict", "--html", "no/r.html"], "cannot be written"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line(name, folder, capsys):
    arguments, expected = ERRORS[name]
    assert main(arguments) == 2
    written = capsys.readouterr().err
    assert written.startswith("error: ") and expected in written and "Traceback" not in written


def test_it_is_a_module():
    import subprocess
    import sys

    run = subprocess.run([sys.executable, "-m", "noisejax", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "preview" in run.stdout
