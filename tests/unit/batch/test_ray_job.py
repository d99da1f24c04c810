"""What is wrong with a job on Ray before Ray is needed; `tests/scale/jobs` runs it."""

from pathlib import Path

import pytest

from icdpo_chains.batch.ray_job import run_ray_job

from .conftest import CONFIG


def test_bad_arguments(prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(ValueError, match="configs is empty"):
        run_ray_job([], prompts, out)
    with pytest.raises(ValueError, match="differ in more than the server"):
        run_ray_job([CONFIG, CONFIG.changed({"n": 3})], prompts, out)
    with pytest.raises(ValueError, match="workers is 0"):
        run_ray_job(CONFIG, prompts, out, workers=0)
    with pytest.raises(ValueError, match="chunk is 0"):
        run_ray_job(CONFIG, prompts, out, chunk=0)
    assert not out.exists()
