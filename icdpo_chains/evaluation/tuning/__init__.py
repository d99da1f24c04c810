"""The search for the best settings of a model and its preferences, within a budget of minutes."""
