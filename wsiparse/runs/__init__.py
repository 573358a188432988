"""Runs: what a person asked for, and the steps that carry it out."""
