"""Evidence for the labelling family."""
