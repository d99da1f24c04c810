"""Settings and fixtures of all tests.

`make fuzz` runs the property tests with a large budget: `pytest -m hypothesis --hypothesis-profile fuzz`.
"""

import logging

import pytest
from hypothesis import settings

# No deadline: a busy machine would fail a test by its duration.
settings.register_profile("unit", deadline=None)
settings.register_profile("fuzz", max_examples=5000, deadline=None)
settings.load_profile("unit")


@pytest.fixture
def access_logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The logger of the access log without handlers; later tests find the logger as it was."""
    log = logging.getLogger("icdpo_chains.server.middleware.access_log")
    for name, value in (("handlers", []), ("level", logging.NOTSET), ("propagate", True)):
        monkeypatch.setattr(log, name, value)
    log._cache.clear()  # type: ignore[attr-defined]  # the level was set aside
    return log
