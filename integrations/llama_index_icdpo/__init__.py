"""icdpo-chains for LlamaIndex."""
