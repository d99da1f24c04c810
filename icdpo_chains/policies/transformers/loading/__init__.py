"""Loads a model and its tokenizer: places, quantization, adapters."""
