from .drop_parameters import Media, Microscope, Site, draw_site
from .drops import Drop, simulate_drop, simulate_drops
from .parameters import Crystal, Detector, Experiment, Ring, Run, Scatter, Setting, draw_run
from .presets import CCD, CSPAD, EXPERIMENTS, MODULES, SETTINGS
from .sfx import Frame, simulate_frame, simulate_run, simulate_truth

__all__ = [
    "CCD",
    "CSPAD",
    "Crystal",
    "Detector",
    "Drop",
    "EXPERIMENTS",
    "Experiment",
    "Frame",
    "MODULES",
    "Media",
    "Microscope",
    "Ring",
    "Run",
    "SETTINGS",
    "Scatter",
    "Setting",
    "Site",
    "draw_run",
    "draw_site",
    "simulate_drop",
    "simulate_drops",
    "simulate_frame",
    "simulate_run",
    "simulate_truth",
]
