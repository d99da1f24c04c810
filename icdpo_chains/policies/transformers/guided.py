"""`GuidedStep`: the rows of both contexts of guided decoding, in one pass through the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.policies.transformers.branches import Branches

__all__ = ["GuidedStep"]


class GuidedStep:
    """Feeds each chosen token to its row and, in the same pass, to the guided row's contrast.

    A pass of few rows takes as long as its weights take to be read. So two passes would take twice as long.

    Args:
        branches: the rows of all requests, then the contrast rows of the guided requests.
        requests: all of the batch.
    """

    def __init__(self, branches: Branches, requests: Sequence[SampleRequest]) -> None:
        self._branches = branches
        self._guided = [request.sampling.guided for request in requests for _ in range(request.n)]
        self._contrast = torch.empty(0)

    def expert(self, tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """The step of all rows, see `Step`; keeps the logits of the contrast for `contrast`."""
        if kept is not None:
            self._keep(kept)
        own = [place for place, guided in enumerate(self._guided) if guided]
        both = torch.cat([tokens, tokens[own]])
        logits = self._branches.read(both[:, None])[:, -1]
        rows = len(self._guided)
        self._contrast = logits[rows:]
        return logits[:rows]

    def contrast(self, tokens: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
        """The step of the contrast rows, see `Step`; follows `expert` with the same tokens."""
        return self._contrast

    def _keep(self, kept: torch.Tensor) -> None:
        rows, left = len(self._guided), kept.tolist()
        guided = [place for place, guided in enumerate(self._guided) if guided]
        contrast = [rows + i for i, place in enumerate(guided) if place in set(left)]
        self._branches.keep(torch.tensor([*left, *contrast], dtype=torch.long, device=kept.device))
        self._guided = [self._guided[place] for place in left]
