"""bfloat16 where it pays: a processor without instructions for it emulates them, many times slower than float32."""

import torch

from cpbench.training.config import Precision

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, twice, and of ARM


def used_precision(wanted: Precision, device: torch.device) -> Precision:
    """What matrix products of a training on `device` are computed in: `wanted`, but on a processor that would only
    emulate bfloat16 (docs/speed.md) float32. An older torch, which cannot tell, does as it is told."""
    if wanted == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        return "float32"
    return wanted


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16, and torch has kernels (oneDNN's) that let it."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # absent from older versions
    if capabilities is None:
        return True
    return torch.backends.mkldnn.is_available() and any(capabilities().get(name) for name in _INSTRUCTIONS)
