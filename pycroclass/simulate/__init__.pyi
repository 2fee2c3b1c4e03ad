from .parameters import Crystal, Detector, Experiment, Run, Scatter, draw_run
from .sfx import Frame, simulate_frame, simulate_run

__all__ = ["Crystal", "Detector", "Experiment", "Frame", "Run", "Scatter", "draw_run", "simulate_frame", "simulate_run"]
