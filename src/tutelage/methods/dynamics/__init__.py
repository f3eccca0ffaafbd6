"""Dynamics: how learning unfolds, and what its course teaches."""
