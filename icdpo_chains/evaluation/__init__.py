"""Whether ICDPO helps, on one's own model and data (extra: `eval`)."""
