"""Evidence for the methods on the dynamics of learning."""
