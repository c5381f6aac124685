"""Noise on signals: series, waveforms and spectrograms, with axes for time and frequency."""

from noisejax.signal._masks import freq_mask as freq_mask, time_mask as time_mask
from noisejax.signal._spectral import colored as colored, gaussian_snr as gaussian_snr

__all__ = ["colored", "freq_mask", "gaussian_snr", "time_mask"]
