"""Preference accuracy: how often a scorer ranks the chosen answer above the rejected one."""
