"""The best settings for a model and its preferences, within a budget of minutes."""
