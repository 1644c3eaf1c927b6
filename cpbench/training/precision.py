"""bfloat16 where it pays: a device without instructions for it emulates them, slower than float32."""

import torch

from cpbench.training.config import Precision

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, twice, and of ARM


def used_precision(wanted: Precision, device: torch.device) -> Precision:
    """What matrix products of a training on `device` are computed in: `wanted`, but float32 on a device that would
    only emulate bfloat16 (docs/speed.md)."""
    return wanted if wanted == "float32" or has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16, with kernels of torch that let it; true of a device that nobody can ask."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", None)  # absent from older versions
    if device.type != "cpu" or capabilities is None:
        return True
    return torch.backends.mkldnn.is_available() and any(capabilities().get(name) for name in _INSTRUCTIONS)
