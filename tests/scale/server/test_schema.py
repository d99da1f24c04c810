"""schemathesis: requests made from the schema, right and wrong, never make the server fail."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Not `positive_data_acceptance`: the schema can't say that a question is not blank, nor that n is no more than
# icdpo.n, nor what this server's limits are.
_CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,negative_data_rejection,ignored_auth,unsupported_method"


@pytest.mark.parametrize("key", ["sekret"])
def test_what_comes_from_the_schema_conforms_to_it(start: Any, tmp_path: Path, key: str) -> None:
    server = start("--key", key)
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.root}/openapi.json"),
        *("--header", f"Authorization: Bearer {key}", "--checks", _CHECKS, "--seed", "1", "--mode", "all"),
        *("--max-examples", "40", "--phases", "examples,coverage,fuzzing", "--workers", "1", "--no-color"),
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), timeout=900
    )
    assert run.returncode == 0, run.stdout[-10_000:]
    bearer = {"Authorization": f"Bearer {key}"}
    assert server.metric("icdpo_waiting", **bearer) == 0
    assert not any("Traceback" in line for line in server.lines)
