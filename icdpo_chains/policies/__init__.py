"""The language model: the `Policy` protocol, Hugging Face transformers, and a deterministic fake."""
