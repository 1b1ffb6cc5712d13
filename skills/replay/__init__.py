"""Streams that can be continued: what a run said is kept, byte for byte, and read again on any process.

A recording listens to a flight in its place, so the flight goes on when the client has left. Its
frames go to a Redis Stream, bounded in size and time; who continues reads them from there.
"""

from skills.replay.following import follow, follow_any, unknown
from skills.replay.frames import DONE, Frame, whole
from skills.replay.recording import Recording, drain, record

__all__ = ["DONE", "Frame", "Recording", "drain", "follow", "follow_any", "record", "unknown", "whole"]
