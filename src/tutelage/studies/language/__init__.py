"""Evidence for the methods on language models."""
