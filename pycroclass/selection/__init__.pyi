from .comparison import Comparison, compare
from .expectation import Expectation
from .formats import FORMATS, SelectionFormat, read_selection, write_selection
from .frame_places import Places, places
from .frame_selection import DECISIONS, FrameSelection
from .lists import read_lst, write_lst
from .results import decisions, read_decisions, write_decisions
from .scores import Scores, scores_of
from .tables import read_table, write_table
from .truth import Truth, truth_of
from .veto import Veto, VetoPolicy
from .virtual import read_selection_of, write_virtual

__all__ = [
    "DECISIONS",
    "FORMATS",
    "Comparison",
    "Expectation",
    "FrameSelection",
    "Places",
    "Scores",
    "SelectionFormat",
    "Truth",
    "Veto",
    "VetoPolicy",
    "compare",
    "decisions",
    "places",
    "read_decisions",
    "read_lst",
    "read_selection",
    "read_selection_of",
    "read_table",
    "scores_of",
    "truth_of",
    "write_decisions",
    "write_lst",
    "write_selection",
    "write_table",
    "write_virtual",
]
