"""Where and how weights are held: device maps, quantization, adapters."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from icdpo_chains.errors import PolicyError
from icdpo_chains.policies.fake import byte_tokenizer
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..architectures import tiny_model

CONTEXT = byte_tokenizer()("How do I say sorry to a friend? ").input_ids
ANSWERS = [list(b"Say it soon."), list(b"no")]


@pytest.fixture
def saved(llama: TransformersPolicy, tmp_path: Path) -> Path:
    llama.model.save_pretrained(tmp_path / "model")
    llama.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(path: Path, **options: Any) -> TransformersPolicy:
    return TransformersPolicy.from_pretrained(path, **{"dtype": "float32", **options})


def close(policy: TransformersPolicy, other: TransformersPolicy, tolerance: float = 1e-4) -> None:
    pairs = zip(policy.logprobs(CONTEXT, ANSWERS), other.logprobs(CONTEXT, ANSWERS), strict=True)
    for found, expected in pairs:
        assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {"device_map": "auto"},
        {"device_map": {"": "cpu"}},
        {"device_map": "auto", "max_memory": {"cpu": "8GiB"}},
        {"device": "cpu", "attn_implementation": "eager"},
    ],
)
def test_the_numbers_stay(llama: TransformersPolicy, saved: Path, options: dict[str, Any]) -> None:
    policy = load(saved, **options)
    close(policy, llama)
    if "attn_implementation" in options:
        assert policy.model.config._attn_implementation == "eager"


def test_layers_on_the_disk_give_the_same_numbers(
    llama: TransformersPolicy, saved: Path, tmp_path: Path
) -> None:
    layers = {f"model.layers.{i}": "disk" if i else "cpu" for i in range(2)}
    rest = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    policy = load(saved, device_map={**rest, **layers})
    close(policy, llama)
    sampling = SamplingParams(max_new_tokens=6, seed=1)
    found, expected = policy.sample(CONTEXT, 3, sampling), llama.sample(CONTEXT, 3, sampling)
    assert [sample.token_ids for sample in found] == [sample.token_ids for sample in expected]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpu", "device_map": "auto"}, "device='cpu' and device_map='auto' exclude each other"),
        ({"max_memory": {"cpu": "8GiB"}}, "max_memory needs a device_map"),
        ({"quantization": "3bit"}, "quantization='3bit' is unknown: use '4bit' or '8bit'"),
        ({"adapter": "no/such"}, "the adapter 'no/such' can't be loaded"),
    ],
)
def test_options_that_do_not_go_together(
    saved: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PolicyError, match=message):
        load(saved, **options)


@pytest.mark.parametrize("package", ["bitsandbytes", "peft"])
def test_a_package_that_is_missing_is_named(
    saved: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    option = {"quantization": "4bit"} if package == "bitsandbytes" else {"adapter": "some/adapter"}
    for module in ("weight_options", "adapter"):
        monkeypatch.setattr(
            f"icdpo_chains.policies.transformers.loading.{module}.find_spec", lambda name: None
        )
    with pytest.raises(PolicyError, match=rf"needs {package}: pip install"):
        load(saved, **option)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_quantized_weights(quantization: str, tmp_path: Path) -> None:
    llama = TransformersPolicy(tiny_model("llama"), byte_tokenizer(), "tiny")
    llama.model.save_pretrained(tmp_path / "plain")
    llama.tokenizer.save_pretrained(tmp_path / "plain")
    policy = load(tmp_path / "plain", device="cpu", quantization=quantization)
    kinds = {type(module).__name__ for module in policy.model.modules()}
    assert ("Linear4bit" if quantization == "4bit" else "Linear8bitLt") in kinds
    close(policy, llama, tolerance=8)  # tiny random weights lose much
    sampling = SamplingParams(max_new_tokens=6, seed=1)
    (sample,) = policy.sample(CONTEXT, 1, sampling)
    assert sample.logprobs == pytest.approx(policy.logprobs(CONTEXT, [sample.token_ids])[0], abs=0.05)
    policy.model.save_pretrained(tmp_path / "quantized")
    policy.tokenizer.save_pretrained(tmp_path / "quantized")
    again = load(tmp_path / "quantized", device="cpu")  # as it is, and never moved
    close(again, policy, tolerance=0.05)
    with pytest.raises(PolicyError, match="its weights are quantized already"):
        load(tmp_path / "quantized", device="cpu", quantization=quantization)


def configured(path: Path, **fields: Any) -> None:
    config = json.loads((path / "config.json").read_text("utf-8"))
    (path / "config.json").write_text(json.dumps({**config, **fields}), "utf-8")


@pytest.mark.parametrize("method", ["awq", "compressed-tensors", "fp_quant", "gptq", "spqr"])
def test_a_quantization_without_its_package_or_device_is_named(method: str, saved: Path) -> None:
    more = {"bits": 4, "group_size": 32} if method in ("awq", "gptq") else {}
    configured(saved, quantization_config={"quant_method": method, **more})
    with pytest.raises(PolicyError, match="can't be loaded") as error:
        load(saved, device="cpu")
    assert "Give a directory" not in str(error.value)


def test_a_checkpoint_in_8_bit_floats_is_unpacked_on_a_cpu(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    module, reason = (
        "transformers.integrations.finegrained_fp8",
        "transformers 5.0 unpacks them with Triton alone",
    )
    pytest.importorskip(module, reason=reason, exc_type=ImportError)
    twin, size = TransformersPolicy(tiny_model("llama"), byte_tokenizer(), "tiny"), 8
    twin.model.save_pretrained(tmp_path)
    twin.tokenizer.save_pretrained(tmp_path)
    weights, packed, plain = load_file(tmp_path / "model.safetensors"), {}, {}
    for name, value in weights.items():
        packed[name] = plain[name] = value.clone()  # the file, which may be mapped, is replaced below
        if name.endswith("proj.weight"):
            rows, columns = value.shape
            blocks = value.reshape(rows // size, size, columns // size, size)
            scales = blocks.abs().amax((1, 3)) / 448
            rounded = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn)
            packed[name] = rounded.reshape(rows, columns)
            packed[name.replace("weight", "weight_scale_inv")] = scales
            plain[name] = (rounded.float() * scales[:, None, :, None]).reshape(rows, columns)
    save_file(packed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    form = {"quant_method": "fp8", "weight_block_size": [size, size], "activation_scheme": "dynamic"}
    configured(tmp_path, quantization_config=form)
    twin.model.load_state_dict(plain, strict=False)
    close(load(tmp_path, device="cpu"), TransformersPolicy(twin.model, byte_tokenizer(), "twin"))


def test_weights_of_another_size_are_refused(saved: Path) -> None:
    configured(saved, intermediate_size=8)
    with pytest.raises(PolicyError, match="can't be loaded"):
        load(saved, device="cpu")


@pytest.fixture
def adapter(saved: Path, tmp_path: Path) -> tuple[Path, TransformersPolicy]:
    """A random adapter, and the policy of the model with it, not merged."""
    peft = pytest.importorskip("peft")
    policy = load(saved, device="cpu")
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    torch.manual_seed(5)
    tuned = peft.get_peft_model(policy.model, config)
    tuned.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", TransformersPolicy(tuned.get_base_model().eval(), policy.tokenizer, "tuned")


@pytest.mark.parametrize("placed", [{"device": "cpu"}, {"device_map": "auto"}])
def test_an_adapter(
    llama: TransformersPolicy,
    saved: Path,
    adapter: tuple[Path, TransformersPolicy],
    placed: dict[str, str],
) -> None:
    path, expected = adapter
    policy = load(saved, adapter=path, **placed)
    close(policy, expected)
    assert policy.logprobs(CONTEXT, ANSWERS)[0] != pytest.approx(
        llama.logprobs(CONTEXT, ANSWERS)[0], abs=0.01
    )
    assert policy.name == f"{saved} + {path}"
    merged = not any("lora" in name for name, _ in policy.model.named_modules())
    assert merged == ("device" in placed)


def test_a_pickled_adapter_is_refused(saved: Path, adapter: tuple[Path, TransformersPolicy]) -> None:
    path, _ = adapter
    (path / "adapter_model.safetensors").unlink()
    torch.save({}, path / "adapter_model.bin")
    with pytest.raises(PolicyError, match="with safetensors weights"):
        load(saved, device="cpu", adapter=path)


def test_offline_mode_is_told_from_a_wrong_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        PolicyError, match=r"'org/name' can't be loaded: the cache does not have it, and offline mode"
    ):
        TransformersPolicy.from_pretrained("org/name", device="cpu")
