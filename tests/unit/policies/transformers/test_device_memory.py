"""What devices say about their memory; no device but the CPU is at hand, so torch's answers are replaced."""

import psutil
import pytest
import torch

from icdpo_chains.policies.transformers.device_memory import free_bytes, is_out_of_memory, release_unused


def test_what_torch_holds_for_later_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_bytes(torch.device("cuda:1")) == 130
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 90)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 40)
    assert free_bytes(torch.device("mps")) == 50
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 400)
    assert free_bytes(torch.device("mps")) == 0
    assert free_bytes(torch.device("meta")) is None


def test_the_memory_of_this_machine() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    assert 0 < free <= psutil.virtual_memory().total
    release_unused()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17.81 GB)"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=str,
)
def test_which_errors_say_that_it_is_used_up(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_the_error_of_a_real_allocation() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
