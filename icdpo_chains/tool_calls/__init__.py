"""Tool calls: their type, and the forms in which models write them."""
