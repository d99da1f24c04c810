"""A Chroma collection: its place (memory, directory, server), its records, and safe writes."""
