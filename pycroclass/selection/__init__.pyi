from .frame_selection import DECISIONS, FrameSelection
from .selected_cxi import read_selected_cxi, write_selected_cxi
from .selected_emc import write_selected_emc
from .selected_frames import selected_frames
from .stream_chunks import StreamChunk, stream_chunks
from .stream_labels import INDEXED, labels_from_stream
from .stream_reading import Stream, read_stream
from .stream_writing import write_stream

__all__ = [
    "DECISIONS",
    "INDEXED",
    "FrameSelection",
    "Stream",
    "StreamChunk",
    "labels_from_stream",
    "read_selected_cxi",
    "read_stream",
    "selected_frames",
    "stream_chunks",
    "write_selected_cxi",
    "write_selected_emc",
    "write_stream",
]
