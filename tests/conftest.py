"""`make fuzz` runs the property tests with a large budget: `pytest -m hypothesis --hypothesis-profile fuzz`."""

from hypothesis import settings

settings.register_profile("fuzz", max_examples=5000, deadline=None)
