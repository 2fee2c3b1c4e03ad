from .drop_parameters import Media, Microscope, Site, draw_site
from .drops import Drop, simulate_drop, simulate_drops
from .parameters import Crystal, Detector, Experiment, Run, Scatter, draw_run
from .sfx import Frame, simulate_frame, simulate_run

__all__ = [
    "Crystal",
    "Detector",
    "Drop",
    "Experiment",
    "Frame",
    "Media",
    "Microscope",
    "Run",
    "Scatter",
    "Site",
    "draw_run",
    "draw_site",
    "simulate_drop",
    "simulate_drops",
    "simulate_frame",
    "simulate_run",
]
