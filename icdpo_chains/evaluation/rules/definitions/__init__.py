"""The house rules: the type, the checks, and the rules themselves."""
