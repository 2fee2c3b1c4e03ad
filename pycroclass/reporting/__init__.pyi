from .exploration import exploration_report
from .page import report

__all__ = ["exploration_report", "report"]
