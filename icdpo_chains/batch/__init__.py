"""Batch jobs: answer a data set of prompts, on one machine or on Ray."""
