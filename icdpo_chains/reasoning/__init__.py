"""A thinking model's thoughts, told apart from its answers."""
