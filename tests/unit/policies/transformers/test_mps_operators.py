"""No Mac is at hand: torch's own list of operators says what its GPU (MPS) can compute."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchgen
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from icdpo_chains.policies.policy import ScoreRequest
from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy

CONTEXT = list(range(10, 60))


class Recorded(TorchDispatchMode):
    """Records the operators of a computation, and the types of their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: dict[Any, set[torch.dtype]] = {}

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [item for item in args if isinstance(item, torch.Tensor)]
        self.operators.setdefault(operator, set()).update(tensor.dtype for tensor in tensors)
        # On a CPU, attention would become an operator of the CPU alone.
        if operator._can_decompose() and "scaled_dot_product" not in str(operator):
            with self:
                result = operator.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return operator(*args, **(kwargs or {}))


def implemented(operator: Any, listed: dict[str, Any]) -> bool:
    name = str(operator).removeprefix("aten.").removesuffix(".default")
    entry = listed[name]
    base = listed[entry["structured_delegate"]] if "structured_delegate" in entry else {}
    devices = {
        device.strip()
        for keys in [*(entry.get("dispatch") or {}), *(base.get("dispatch") or {})]
        for device in keys.split(",")
    }
    return not devices or "MPS" in devices or any(device.startswith("Composite") for device in devices)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "gemma2"], ids=["shared", "copied"])
def test_each_operator_has_an_implementation(architecture: str) -> None:
    def sampling(**options: Any) -> SamplingParams:
        return SamplingParams(max_new_tokens=9, seed=1, **options)

    tiny = tiny_policy(architecture)
    policy = TransformersPolicy(tiny.model, tiny.tokenizer, pack_weights=False)
    policy._engine._scores_together = True  # as on each device but a CPU
    requests = [
        SampleRequest(CONTEXT, 3, sampling()),
        SampleRequest(CONTEXT[:9], 2, sampling(top_k=5, temperature=0.7)),
        SampleRequest(CONTEXT[3:], 2, sampling(repetition_penalty=1.2)),
        SampleRequest(CONTEXT, 2, sampling(decoding="guided"), contrast=CONTEXT[5:]),
        SampleRequest(CONTEXT, 4, sampling(), finalists=1, contrast=CONTEXT[9:]),
        SampleRequest(CONTEXT, 2, sampling(temperature=0, min_new_tokens=3)),
    ]
    with Recorded() as recorded:
        policy.sample_batch(requests)
        for _ in range(2):  # the second time with a beginning from the prefix cache
            policy.sample(CONTEXT * 3, 2, sampling())
        policy.logprobs_batch([ScoreRequest(CONTEXT, [[1, 2, 3], [4]]), ScoreRequest(CONTEXT[3:], [[5], []])])
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    entries = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    listed = {entry["func"].split("(")[0]: entry for entry in entries}
    assert len(recorded.operators) > 50
    assert [str(operator) for operator in recorded.operators if not implemented(operator, listed)] == []
    doubles = [str(operator) for operator, types in recorded.operators.items() if torch.float64 in types]
    assert doubles == [], "MPS has no float64"
    assert not implemented(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default, listed), (
        "the list tells nothing"
    )
