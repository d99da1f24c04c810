"""A Chroma collection: where it lives (memory, directory, server), its records, and safe writes."""
