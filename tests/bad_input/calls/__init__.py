"""The table of right calls. Every public callable has one, or a reason why it needs none."""

from bad_input.calls import attacks, fused, language, layers, noises, pictures, recordings, rest, tables, values
from bad_input.calls.call import Call as Call

RECORD = "a record that functions return, which checks nothing"
WITHOUT = {
    "Fitted": "a base class, whose subclasses users write",
    "Noise": "made by bind and the combinators, which check",
    "Marginals": "made by marginals, which checks",
    "Adaptive": "made by adaptive, which checks",
    "AdaptiveState": RECORD,
    "adversarial.AutoAttackResult": RECORD,
    "adversarial.Certificates": RECORD,
    "adversarial.Guarantee": "a record that users fill with functions of their own",
    "adversarial.Decisions": RECORD,
    "adversarial.Evaluation": RECORD,
    "adversarial.OverfittingGuard": RECORD,
    "adversarial.OverfittingState": RECORD,
    "adversarial.Threat": "a base class, whose subclasses are called",
    "frame.Encoded": RECORD,
    "frame.FrameNoise": "made by frame.noise, which checks",
    "frame.Layout": RECORD,
    "frame.grain_map": "needs Grain; tests/frame/test_engines.py calls it",
    "frame.layout": "takes fitted transformers of other libraries; tests/frame/test_encode.py gives it others",
    "image.SensorModel": "made by fit_sensor, which checks",
    "nnx.Amount": "a type of Variable, which Flax constructs",
    "optim.AdversarialWeightsState": RECORD,
    "optim.AnticorrelatedNoiseState": RECORD,
    "optim.NoiseState": RECORD,
    "optim.PreconditionedSGLDState": RECORD,
    "robustness.Adapted": RECORD,
    "robustness.Advice": RECORD,
    "robustness.Candidate": RECORD,
    "robustness.Comparison": RECORD,
    "robustness.Interval": RECORD,
    "robustness.Passes": RECORD,
    "robustness.Report": RECORD,
    "robustness.Sensitivity": RECORD,
    "robustness.Tuned": RECORD,
    "signal.FaultModel": "made by fit, which checks",
    "tabular.Columns": "made by fit, which checks",
    "tabular.ErrorModel": "made by fit_errors, which checks",
    "tabular.Finding": RECORD,
    "tabular.Mechanism": "a base class",
    "tabular.Rate": RECORD,
    "tabular.Shift": "made by fit_shift, which checks",
    "signal.State": "made by start, which checks",
    "image.Placed": "made by moved, which checks",
    "text.Alignment": RECORD,
    "text.Edit": RECORD,
    "text.EditModel": "made by fit_edits, which checks",
    "text.OnStrings": "made by on_strings, which checks",
    "text.Graphemes": "made by graphemes, which checks",
    "text.Misspellings": "made by misspellings, which checks",
    "text.SpanLengths": RECORD,
    "text.Spans": RECORD,
    "tabular.TextErrors": "made by fit_text_errors, which checks",
}

TABLES = (noises, values, attacks, layers, rest, tables, fused, language, recordings, pictures)


def every() -> list[Call]:
    """All calls, in a fixed order."""
    return [call for table in TABLES for call in table.calls()]
