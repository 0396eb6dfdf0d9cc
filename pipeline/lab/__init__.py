"""Experiments on what a run has stored."""
