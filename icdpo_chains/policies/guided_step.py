"""`GuidedStep`: one pass through the model for both contexts of guided decoding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from icdpo_chains.policies.branches import Branches
from icdpo_chains.policies.sampling import SampleRequest

__all__ = ["GuidedStep"]


class GuidedStep:
    """Feeds each chosen token to its row and, in the same pass, to the row's contrast.

    The time of a pass with few rows is the time to read the weights, so two passes would take twice as long.

    Args:
        branches: the rows of all requests, then the contrast rows of the guided requests.
        requests: all requests of the batch.
    """

    def __init__(self, branches: Branches, requests: Sequence[SampleRequest]) -> None:
        self._branches = branches
        guided = [request.sampling.guided for request in requests for _ in range(request.n)]
        self._places: torch.Tensor | None = None  # the places of the guided rows, on the device
        self._guided = torch.tensor(guided)
        self._contrast = torch.empty(0)

    def expert(self, tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """The step of all rows (see `Step`); stores the logits of the contrast for `contrast`."""
        if kept is not None:
            self._keep(kept)
        if self._places is None:
            self._places = self._guided.nonzero()[:, 0].to(tokens.device)
        both = torch.cat([tokens, tokens[self._places]])
        logits = self._branches.read(both[:, None])[:, -1]
        self._contrast = logits[len(tokens) :]
        return logits[: len(tokens)]

    def contrast(self, tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """The step of the contrast rows (see `Step`); call it after `expert` with the same tokens."""
        return self._contrast

    def _keep(self, kept: torch.Tensor) -> None:
        left = kept.cpu()
        # The number of each guided row among the guided rows.
        numbers = self._guided.cumsum(0) - 1
        contrast = len(self._guided) + numbers[left][self._guided[left]]
        self._branches.keep(torch.cat([left, contrast]).to(kept.device))
        self._guided, self._places = self._guided[left], None
