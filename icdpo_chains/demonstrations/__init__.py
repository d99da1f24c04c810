"""Demonstrations: the type, file formats, the Chroma store, embedding and retrieval."""
