"""Tell glibc to keep large blocks: training allocates and frees the same sizes at every step."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KERNELS = "64"


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library: nothing to tune
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def tune() -> bool:
    """Keep freed memory instead of returning it to the kernel at every step (measured: docs/speed.md).

    Also lets oneDNN keep 64 compiled kernels, not 1,024: batches of sequences come in ever new shapes, and a kernel
    for each is a leak in all but name. Call it before the first computation. Changes no result.
    Returns whether the memory settings took effect: on another system than Linux with glibc they do nothing.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)
    library = _glibc()
    if library is None:
        return False
    settings = ((_M_MMAP_THRESHOLD, 2**31 - 1), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
    return all(library.mallopt(option, value) == 1 for option, value in settings)


def trim() -> None:
    """Give unused memory back once (after an epoch), so that a long run does not creep upwards."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
