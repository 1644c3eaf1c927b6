import pytest
import torch

from cpbench.training.precision import has_bfloat16, used_precision

OLD_LAPTOP = {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(("processor", "expected"), [
    (OLD_LAPTOP, False),
    (OLD_LAPTOP | {"avx512_f": True}, False),  # what oneDNN would emulate
    (OLD_LAPTOP | {"avx512_bf16": True}, True),
    (OLD_LAPTOP | {"amx_bf16": True}, True),
    ({"architecture": "aarch64", "neon": True, "bf16": True}, True),
    ({"architecture": "aarch64", "neon": True, "bf16": False}, False),
])
def test_it_takes_instructions_of_its_own(processor: dict, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert has_bfloat16() == expected


def test_without_kernels_the_instructions_are_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True}, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not has_bfloat16()


def test_a_torch_that_cannot_tell_does_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert used_precision("bfloat16", torch.device("cpu")) == "bfloat16"


def test_only_a_processor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: OLD_LAPTOP, raising=False)
    assert used_precision("bfloat16", torch.device("cuda")) == "bfloat16"
    assert used_precision("bfloat16", torch.device("cpu")) == "float32"
    assert used_precision("float32", torch.device("cpu")) == "float32"
