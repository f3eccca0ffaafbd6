"""Evidence for the methods that distil generative models."""
