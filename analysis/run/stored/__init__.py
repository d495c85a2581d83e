"""A run whose tables do not fit into memory: partitioned once by event into Parquet, read again in parts."""

from analysis.run.stored.frame import Frame, StoredFrame, consecutive, in_memory, parts_of
from analysis.run.stored.partition import FOLDER, Store, opened

__all__ = ["FOLDER", "Frame", "Store", "StoredFrame", "consecutive", "in_memory", "opened", "parts_of"]
