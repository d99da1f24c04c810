"""`CudaGraph`: a recorded computation that a GPU replays as a whole."""

from __future__ import annotations

from collections.abc import Callable

import torch

from icdpo_chains.policies.transformers.device_memory import is_out_of_memory

__all__ = ["CaptureError", "CudaGraph"]


class CaptureError(Exception):
    """A computation can't be recorded: it waits for the host, or its operations change."""


class CudaGraph:
    """Records a computation on tensors with fixed addresses.

    Recording computes nothing. The computation must have run once before, because a first run may load
    kernels.

    Args:
        call: the computation; it holds its input tensors.

    Raises:
        CaptureError: the computation can't be recorded.
        torch.OutOfMemoryError: there is no memory for the results.
    """

    def __init__(self, call: Callable[[], torch.Tensor]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = call()
        except RuntimeError as error:
            # Ending a recording that ran out of memory raises another error.
            if is_out_of_memory(error) or (error.__context__ and is_out_of_memory(error.__context__)):
                raise torch.OutOfMemoryError(str(error)) from error
            raise CaptureError(str(error)) from error

    def replay(self) -> torch.Tensor:
        """Replays the computation; always returns the same tensor."""
        self._graph.replay()
        return self._result
