from .frame_selection import DECISIONS, FrameSelection

__all__ = ["DECISIONS", "FrameSelection"]
