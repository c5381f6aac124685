"""Noise on signals and faults of sensors: series, waveforms and spectrograms, with axes for time and frequency."""

from noisejax.signal._audio import band_limit as band_limit, hum as hum, mix as mix
from noisejax.signal._events import changepoint as changepoint, drift as drift, spike as spike, stuck as stuck
from noisejax.signal._gaps import bursts as bursts, packets as packets
from noisejax.signal._learnt.faults import faults as faults
from noisejax.signal._learnt.fit import fit as fit, fit_bursts as fit_bursts, fit_noise as fit_noise
from noisejax.signal._learnt.model import FaultModel as FaultModel
from noisejax.signal._masks import freq_mask as freq_mask, time_mask as time_mask
from noisejax.signal._reverb import decaying_responses as decaying_responses, reverb as reverb
from noisejax.signal._sensors import (
    adc as adc,
    bias as bias,
    clipping as clipping,
    gain as gain,
    leakage as leakage,
    polarity as polarity,
    saturate as saturate,
)
from noisejax.signal._spectral import colored as colored, gaussian_snr as gaussian_snr
from noisejax.signal._steps import (
    State as State,
    bursts_step as bursts_step,
    drift_step as drift_step,
    start as start,
    stuck_step as stuck_step,
)
from noisejax.signal._time import (
    clock_drift as clock_drift,
    jitter_time as jitter_time,
    moved as moved,
    permute_segments as permute_segments,
    rotate3 as rotate3,
)
from noisejax.signal._warps import magnitude_warp as magnitude_warp, time_warp as time_warp

__all__ = [
    "FaultModel",
    "State",
    "adc",
    "band_limit",
    "bias",
    "bursts",
    "bursts_step",
    "changepoint",
    "clipping",
    "clock_drift",
    "colored",
    "decaying_responses",
    "drift",
    "drift_step",
    "faults",
    "fit",
    "fit_bursts",
    "fit_noise",
    "freq_mask",
    "gain",
    "gaussian_snr",
    "hum",
    "jitter_time",
    "leakage",
    "magnitude_warp",
    "mix",
    "moved",
    "packets",
    "permute_segments",
    "polarity",
    "reverb",
    "rotate3",
    "saturate",
    "spike",
    "start",
    "stuck",
    "stuck_step",
    "time_mask",
    "time_warp",
]
