from contextlib import nullcontext

import pytest
import torch

from cpbench.training.precision import has_bfloat16, used_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
OLD_LAPTOP = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(("processor", "expected"), [
    (OLD_LAPTOP, False),
    (OLD_LAPTOP | {"avx512_f": True}, False),  # what oneDNN would emulate
    (OLD_LAPTOP | {"avx512_bf16": True}, True),
    (OLD_LAPTOP | {"amx_bf16": True}, True),
    ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
    ({"architecture": "aarch64", "neon": True, "bf16": False}, False),
])
def test_a_processor_needs_instructions_of_its_own(processor: dict, expected: bool,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert has_bfloat16(CPU) == expected
    assert used_precision("bfloat16", CPU) == ("bfloat16" if expected else "float32")
    assert used_precision("float32", CPU) == "float32"


def test_without_kernels_the_instructions_are_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True}, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_bfloat16(CPU)


def test_a_torch_that_cannot_tell_does_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert used_precision("bfloat16", CPU) == "bfloat16"


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_only_emulates_it_is_found(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert used_precision("bfloat16", GPU) == ("bfloat16" if native else "float32")
