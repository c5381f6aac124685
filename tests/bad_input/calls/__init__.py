"""The table of right calls. Every public callable has one, or a reason why it needs none."""

from bad_input import surface
from bad_input.calls import attacks, layers, noises, rest, tables, values
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
    "robustness.Comparison": RECORD,
    "robustness.Interval": RECORD,
    "robustness.Passes": RECORD,
    "robustness.Report": RECORD,
    "robustness.Sensitivity": RECORD,
    "signal.FaultModel": "made by fit, which checks",
    "tabular.Columns": "made by fit, which checks",
    "tabular.ErrorModel": "made by fit_errors, which checks",
    "tabular.Finding": RECORD,
    "tabular.Mechanism": "a base class",
    "tabular.Rate": RECORD,
    "tabular.Shift": "made by fit_shift, which checks",
    "tabular.TextErrors": "made by fit_text_errors, which checks",
}


# Their own tests give bad input to what is no noise of arrays, and the laws to the noises.
LATER = ("image.", "signal.", "text.")
WITHOUT |= {
    address: "its module's tests give it bad input"
    for address in surface.callables()
    if address.startswith(LATER)
    and address not in WITHOUT
    and address not in {call.address for table in (noises, tables) for call in table.calls()}
}


def every() -> list[Call]:
    """All calls, in a fixed order."""
    return [call for table in (noises, values, attacks, layers, rest, tables) for call in table.calls()]
