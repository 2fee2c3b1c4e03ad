from .comparison import Comparison, compare
from .expectation import Expectation
from .formats import FORMATS, SelectionFormat, read_selection, write_selection
from .frame_places import Places, places
from .frame_selection import DECISIONS, FrameSelection
from .lists import read_lst, write_lst
from .results import decisions, read_decisions, write_decisions
from .scores import Scores, scores_of
from .selected_cxi import read_selected_cxi, write_selected_cxi
from .selected_emc import write_selected_emc
from .selected_frames import selected_frames
from .stream_chunks import StreamChunk, stream_chunks
from .stream_labels import INDEXED, labels_from_stream
from .stream_reading import Stream, read_stream
from .stream_writing import write_stream
from .tables import read_table, write_table
from .truth import Truth, truth_of
from .veto import Veto, VetoPolicy
from .virtual import read_selection_of, write_virtual

__all__ = [
    "DECISIONS",
    "FORMATS",
    "INDEXED",
    "Comparison",
    "Expectation",
    "FrameSelection",
    "Places",
    "Scores",
    "SelectionFormat",
    "Stream",
    "StreamChunk",
    "Truth",
    "Veto",
    "VetoPolicy",
    "compare",
    "decisions",
    "labels_from_stream",
    "places",
    "read_decisions",
    "read_lst",
    "read_selected_cxi",
    "read_selection",
    "read_selection_of",
    "read_stream",
    "read_table",
    "scores_of",
    "selected_frames",
    "stream_chunks",
    "truth_of",
    "write_decisions",
    "write_lst",
    "write_selected_cxi",
    "write_selected_emc",
    "write_selection",
    "write_stream",
    "write_table",
    "write_virtual",
]
