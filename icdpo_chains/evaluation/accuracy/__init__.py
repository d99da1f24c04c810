"""How often a scorer ranks the chosen answer above the rejected one."""
