"""Batch jobs: a data set of prompts through ICDPO, on one machine or on Ray."""
