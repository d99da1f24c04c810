"""A batch job on fakes: no weights, no sockets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, ICDPOConfig, SamplingParams
from icdpo_chains.batch.job import run_batch_job

from ..fake_core import DEMONSTRATIONS

CONFIG = ICDPOConfig(n=2).changed({"seed": 7, "max_tokens": 12})


def build(config: ICDPOConfig, **policy: Any) -> ICDPO:
    """By chance, so that an answer tells with which seed it was sampled."""
    return ICDPO(
        FakePolicy(**policy),
        FixedDemonstrations(DEMONSTRATIONS, k=2),
        n=config.n,
        sampling=SamplingParams(max_new_tokens=12, min_new_tokens=4),
    )


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows: list[Any] = [{"prompt": f"Question {i}?"} for i in range(5)]
    rows[2] = {"prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hé {x}?"}]}
    rows[3] = {"no": "prompt"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(prompts: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs the job into `out.jsonl`, with these options over the usual ones."""

    def run(config: ICDPOConfig = CONFIG, **options: Any) -> Any:
        given = {"build": build, "chunk": 2, **options}
        return run_batch_job(config, given.pop("prompts", prompts), tmp_path / "out.jsonl", **given)

    return run
