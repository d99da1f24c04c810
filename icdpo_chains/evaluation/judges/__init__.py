"""Judges of answers: reward models, chat models, classifiers."""
