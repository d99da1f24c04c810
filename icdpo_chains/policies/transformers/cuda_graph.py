"""`CudaGraph`: a recorded computation, which a GPU repeats as a whole."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["CaptureError", "CudaGraph"]


class CaptureError(Exception):
    """A computation can't be recorded: it waits for the host, or takes another course each time."""


class CudaGraph:
    """Records a computation on tensors that stay where they are.

    Recording does not compute anything. The computation must have run once before, since a first run may
    load kernels.

    Args:
        call: the computation; its inputs are tensors that it finds by itself.

    Raises:
        CaptureError: it can't be recorded.
        torch.OutOfMemoryError: there is no memory for its results.
    """

    def __init__(self, call: Callable[[], torch.Tensor]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._result = call()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise CaptureError(str(error)) from error

    def replay(self) -> torch.Tensor:
        """Computes anew; returns the result, always the same tensor."""
        self._graph.replay()
        return self._result
