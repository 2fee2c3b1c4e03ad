from .calibrating import calibrate_hits, calibration_of
from .masking import run_mask
from .training import train_hits

__all__ = ["calibrate_hits", "calibration_of", "run_mask", "train_hits"]
