"""Evidence for the self-training family."""
