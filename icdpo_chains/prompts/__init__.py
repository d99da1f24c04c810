"""The only place where text becomes model input: safe encoding, two formats, three contexts."""
