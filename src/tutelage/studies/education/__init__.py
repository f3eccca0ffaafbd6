"""Evidence for the education methods."""
