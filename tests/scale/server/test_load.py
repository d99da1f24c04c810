"""200 users at once, by locust: nothing lost or crossed, and memory does not grow."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_USERS, _REQUESTS = 200, 1000


def load(server: Any) -> dict[str, Any]:
    """Sends the requests; returns locust's statistics of them."""
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("locustfile.py"))),
        *("--headless", "--users", str(_USERS), "--spawn-rate", str(_USERS), "--host", server.root),
        *("--run-time", "120s", "--stop-timeout", "60", "--json", "--skip-log", "--exit-code-on-error", "0"),
    ]
    environment = {**os.environ, "ICDPO_LOAD_REQUESTS": str(_REQUESTS), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    (statistics,) = json.loads(run.stdout)
    return statistics  # type: ignore[no-any-return]


def test_nothing_is_lost_or_crossed_and_memory_stays_flat(start: Any) -> None:
    server = start("--seconds", "0.05")
    resident = []
    for i in (1, 2, 3):
        statistics = load(server)
        assert statistics["num_requests"] >= _REQUESTS
        assert statistics["num_failures"] == 0, statistics
        counted = 'icdpo_requests_total{endpoint="/v1/chat/completions",status="200"}'
        for _ in range(100):
            if server.metric(counted) == i * _REQUESTS:
                break
            time.sleep(0.05)
        assert server.metric(counted) == server.metric("icdpo_questions_total") == i * _REQUESTS
        assert server.metric("icdpo_waiting") == 0
        resident.append(server.metric("process_resident_memory_bytes") / 2**20)
    batches = server.metric("icdpo_batch_questions_count")
    print(f"resident MiB after each {_REQUESTS}: {resident}; {3 * _REQUESTS / batches:.1f} questions a batch")
    assert batches < 3 * _REQUESTS / 4  # many were sampled together
    assert resident[2] - resident[1] < 10, resident
