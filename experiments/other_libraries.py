"""Models of scikit-learn, XGBoost, torch and ONNX Runtime, measured by the same sweep.

    python -m experiments.other_libraries        in an environment with some of xgboost, torch, skl2onnx, onnxruntime

Each library trains a model of the same table (breast cancer of scikit-learn, 400 of 569 rows). `robustness.sweep` finds
by itself that it runs on the host. The score without noise must be the library's own, to the bit, and all reports are
paired, so models can be compared. Libraries that are missing are named. Results are in results/other_libraries.json.
"""

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import noisejax as nj
from experiments import measured
from noisejax import robustness

RESULTS = Path(__file__).parent / "results" / "other_libraries.json"


def scikit_learn(x, y):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y).predict_proba


def xgboost(x, y):
    import xgboost

    return xgboost.XGBClassifier(n_estimators=50, max_depth=3).fit(x, y).predict_proba


def torch(x, y):
    import torch

    torch.manual_seed(0)
    mean, std = x.mean(0), x.std(0)
    model = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    rows, labels = torch.tensor((x - mean) / std), torch.tensor(y)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows), labels).backward()
        optimizer.step()
    return lambda rows: model(torch.as_tensor((rows - mean) / std))  # logits that still have gradients


def onnxruntime(x, y):
    import onnxruntime
    import skl2onnx

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    converted = skl2onnx.to_onnx(model, x[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda rows: session.run(None, {name: np.ascontiguousarray(rows)})[1]


LIBRARIES = {  # by the name of a package: how to train, and which modules it needs
    "scikit-learn": (scikit_learn, ("sklearn",)),
    "xgboost": (xgboost, ("xgboost",)),
    "torch": (torch, ("torch",)),
    "onnxruntime": (onnxruntime, ("onnxruntime", "skl2onnx")),
}


def main():
    x, y = load_breast_cancer(return_X_y=True)
    x, y = x.astype(np.float32), y.astype(np.int64)
    std = x[:400].std(0)
    families = [
        robustness.Family("gaussian", lambda v: nj.bind(nj.gaussian, std=v * std), (0.0, 0.2, 0.5, 1.0)),
        robustness.Family("swapped", lambda v: nj.bind(nj.swap, rate=v), (0.0, 0.1, 0.3)),
    ]
    found, reports = {}, {}
    for name, (train, needs) in LIBRARIES.items():
        if missing := [m for m in needs if importlib.util.find_spec(m) is None]:
            print(f"{name} is skipped: {', '.join(missing)} is not installed.")
            continue
        predict = train(x[:400], y[:400])
        metrics = ["accuracy", "log_loss", "auc"]
        reports[name] = robustness.sweep(jax.random.key(0), predict, (x[400:], y[400:]), families, metrics=metrics)
        outputs = predict(x[400:])
        own = np.asarray(outputs.detach() if hasattr(outputs, "detach") else outputs).argmax(1)
        assert reports[name].clean().mean == np.mean(own == y[400:]), name
        scores = {f: reports[name].interval(f).mean.round(4).tolist() for f in reports[name].levels}
        found[name] = {"version": version(name), "clean": float(reports[name].clean().mean), **scores}
        print(name, found[name])
    notes = {name: row.notes() for name, row in robustness.compare(reports, next(iter(reports)), level=0.0).items()}
    RESULTS.write_text(json.dumps({"measured": measured(), "models": found, "compared": notes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
