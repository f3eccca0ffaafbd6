"""Adaptation: a student that meets other data than its teacher saw, and experts that teach it there."""
