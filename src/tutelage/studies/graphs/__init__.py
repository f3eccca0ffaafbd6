"""Evidence for the methods on graphs."""
