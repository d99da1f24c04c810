"""Packed weights compute what the model's own do, and leave the model alone."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from icdpo_chains.policies.transformers import packed_linears as packing
from icdpo_chains.policies.transformers.packed_linears import PackedLinears


def model_of(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(40, 96), nn.SiLU(), nn.Linear(96, 24, bias=False)).to(dtype)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def model(request: pytest.FixtureRequest) -> nn.Sequential:
    if not packing._works(request.param):
        pytest.skip(f"oneDNN does not multiply {request.param} on this CPU")
    return model_of(request.param)


def rows(count: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(count, 40, generator=torch.Generator().manual_seed(1)).to(dtype)


def packed(model: nn.Module, given: torch.Tensor, linears: PackedLinears) -> torch.Tensor:
    with torch.inference_mode(), linears.used():
        out: torch.Tensor = model(given)
    return out


@pytest.mark.parametrize("count", [1, 3, 8, 100])
def test_the_results_are_the_models_own(model: nn.Sequential, count: int) -> None:
    given = rows(count, model[0].weight.dtype)
    linears = PackedLinears(model, None)
    assert linears._linears
    tolerance = 1e-5 if given.dtype == torch.float32 else 2e-2
    torch.testing.assert_close(packed(model, given, linears), model(given), rtol=tolerance, atol=tolerance)
    in_three_dimensions = packed(model, given[None], linears)
    torch.testing.assert_close(in_three_dimensions[0], packed(model, given, linears), rtol=0, atol=0)


def test_a_row_does_not_depend_on_the_rows_beside_it(model: nn.Sequential) -> None:
    given = rows(100, model[0].weight.dtype)
    linears = PackedLinears(model, None)
    whole = packed(model, given, linears)
    for count in (1, 2, 8, 17, 40):
        assert torch.equal(packed(model, given[:count], linears), whole[:count])


@pytest.mark.parametrize("width", [1536, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nor_does_a_row_by_itself(dtype: torch.dtype, width: int) -> None:
    """Of wide layers, oneDNN adds a single row up in another order than several."""
    if not packing._works(dtype):
        pytest.skip(f"oneDNN does not multiply {dtype} on this CPU")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 576)).to(dtype)
    linears = PackedLinears(model, None)
    for _ in range(5):
        given = (torch.randn(8, 1, width) * torch.randn(8, 1, width).abs()).to(dtype)
        whole = packed(model, given, linears)
        for count in (1, 2, 3):
            assert torch.equal(packed(model, given[:count], linears), whole[:count])
        assert torch.equal(packed(model, given[0, 0], linears), whole[0, 0])


def test_the_model_is_changed_within_the_block_alone(model: nn.Sequential) -> None:
    linears = PackedLinears(model, None)
    with linears.used():
        assert "forward" in vars(model[0])
    with pytest.raises(RuntimeError), linears.used():
        model(rows(2, torch.float64))
    assert all("forward" not in vars(module) for module in model)
    assert set(model.state_dict()) == {"0.weight", "0.bias", "2.weight"}
    model(rows(2, model[0].weight.dtype)).sum().backward()  # it can still be trained


def test_a_weight_that_was_changed_is_packed_anew(model: nn.Sequential) -> None:
    given = rows(4, model[0].weight.dtype)
    linears = PackedLinears(model, None)
    before = packed(model, given, linears)
    with torch.no_grad():
        model[2].weight.mul_(-2)
    assert torch.equal(packed(model, given, linears), -2 * before)
    model[2].weight = nn.Parameter(torch.zeros_like(model[2].weight))
    assert not packed(model, given, linears).any()


def test_a_model_that_is_too_large_is_left_as_it_is(model: nn.Sequential) -> None:
    size = model[0].weight.itemsize * (40 * 96 + 96 * 24)
    assert PackedLinears(model, size)._linears
    assert not PackedLinears(model, size - 1)._linears


def test_what_cannot_be_packed_is_left_as_it_is() -> None:
    model = model_of(torch.float64)  # which oneDNN does not know
    given = rows(3, torch.float64)
    torch.testing.assert_close(packed(model, given, PackedLinears(model, None)), model(given))


def test_a_layer_that_another_library_has_hooked_is_left_to_it() -> None:
    model = model_of(torch.float32)
    model[2].forward = lambda given: given[:, :24] * 0 + 7  # type: ignore[method-assign]
    assert bool((packed(model, rows(2, torch.float32), PackedLinears(model, None)) == 7).all())


def test_a_weight_that_was_paged_out_is_as_it_was(tmp_path: Path) -> None:
    """Both one that is mapped from a file and one that is not."""
    weight = torch.randn(512, 4096, generator=torch.Generator().manual_seed(2))
    save_file({"weight": weight}, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        mapped = file.get_tensor("weight")
    for tensor in (mapped, weight.clone(), weight.clone()[:, :7]):
        packing._page_out(tensor)
        assert torch.equal(tensor, weight[:, : tensor.shape[1]])


class Gated(nn.Module):
    """Two layers that are given the same rows, one that is not, and one that is used twice."""

    def __init__(self, written_between: bool = False) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(40, 96), nn.Linear(40, 32, bias=False)
        self.down, self.twice = nn.Linear(96, 40), nn.Linear(40, 40)
        self._written_between = written_between

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        given = self.twice(self.twice(given))
        gate = self.gate(given)
        if self._written_between:
            given.mul_(2)
        return self.down(gate * torch.sigmoid(self.up(given)).repeat(1, 3))


def gated(dtype: torch.dtype, **options: bool) -> Gated:
    torch.manual_seed(5)
    return Gated(**options).to(dtype)


def grouped(model: nn.Module, dtype: torch.dtype) -> PackedLinears:
    def probe() -> None:
        with torch.inference_mode():
            model(rows(2, dtype))

    return PackedLinears(model, None, probe)


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_layers_that_are_given_the_same_are_one_product_with_the_same_results(
    dtype: torch.dtype, count: int
) -> None:
    if not packing._works(dtype):
        pytest.skip(f"oneDNN does not multiply {dtype} on this CPU")
    model, given = gated(dtype), rows(count, dtype)
    together = grouped(model, dtype)
    found = packed(model, given, together)
    assert together._groups is not None
    assert [group.linears for group in together._groups if len(group.linears) > 1] == [[model.gate, model.up]]
    assert torch.equal(found, packed(model, given, PackedLinears(model, None)))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(found, model(given), rtol=tolerance, atol=tolerance)
    assert all(group._last is None for group in together._groups), "rows are held longer than needed"


def test_rows_that_are_written_to_in_between_are_not_the_same() -> None:
    model, given = gated(torch.float32, written_between=True), rows(3, torch.float32)
    linears = grouped(model, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(packed(model, given, linears), model(given), rtol=1e-5, atol=1e-5)
    assert linears._groups is not None
    assert all(len(group.linears) == 1 for group in linears._groups)


def test_each_layer_of_a_product_may_be_given_something_else_after_all() -> None:
    model = gated(torch.float32)
    linears = grouped(model, torch.float32)
    one, other = rows(3, torch.float32), -rows(5, torch.float32)
    with torch.inference_mode(), linears.used():
        gate, up = model.gate(one), model.up(other)
        assert torch.equal(model.up(one), model.up(one.clone()))
    torch.testing.assert_close(gate, model.gate(one), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(up, model.up(other), rtol=1e-5, atol=1e-5)


def test_one_changed_layer_of_a_product_is_packed_anew() -> None:
    model, given = gated(torch.float32), rows(3, torch.float32)
    linears = grouped(model, torch.float32)
    packed(model, given, linears)
    with torch.no_grad():
        model.up.weight.mul_(-3)
        model.gate.bias.add_(1)
    torch.testing.assert_close(packed(model, given, linears), model(given), rtol=1e-5, atol=1e-5)


def test_a_pass_that_broke_off_leaves_nothing_to_the_next_one() -> None:
    model, given = gated(torch.float32), rows(3, torch.float32)
    linears = grouped(model, torch.float32)
    with torch.inference_mode(), linears.used():
        model.gate(given)  # the product for `up` is there as well, and was never asked for
    with torch.no_grad():
        model.up.weight.mul_(-3)
    with torch.inference_mode(), linears.used():
        found = model.up(given)
    torch.testing.assert_close(found, model.up(given), rtol=1e-5, atol=1e-5)
