"""Arrays in JSON, compressed, and read back only after their size has been checked."""

import base64
import math
import zlib
from typing import Any

import numpy as np


def packed(values: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(values, "<f4")
    return {"shape": list(data.shape), "float32": base64.b85encode(zlib.compress(data.tobytes(), 6)).decode()}


def unpacked(where: str, value: Any, max_bytes: float = math.inf) -> np.ndarray:
    """The array. Nothing is expanded beyond the size that its shape says.

    Raises:
      ValueError: it is none, is damaged, or is larger than max_bytes.
    """
    shape: Any = value.get("shape") if isinstance(value, dict) else None
    text = value.get("float32") if isinstance(value, dict) else None
    whole = isinstance(shape, list) and all(type(n) is int and 0 <= n < 2**40 for n in shape) and len(shape) <= 8
    if not whole or not isinstance(text, str):
        raise ValueError(f"{where} is no packed array")
    size = 4 * math.prod(shape)
    if size > max_bytes:
        raise ValueError(f"{where} has {size} bytes, more than {max_bytes}")
    expander = zlib.decompressobj()
    try:
        data = expander.decompress(base64.b85decode(text), size + 1)
    except (ValueError, zlib.error):
        raise ValueError(f"{where} is damaged") from None
    if len(data) != size or not expander.eof or expander.unused_data:
        raise ValueError(f"{where} is damaged")
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
