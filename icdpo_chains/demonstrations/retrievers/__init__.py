"""The retrievers, one per file; `catalog` has them by their names in config files."""
