"""The kinds of numpy arrays that everything is computed in; names for type hints only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int8]
Places = NDArray[np.intp]
Texts = NDArray[np.object_]
