"""Separates a thinking model's thoughts from its answers."""
