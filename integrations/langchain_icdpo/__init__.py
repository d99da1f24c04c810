"""icdpo-chains for LangChain."""
