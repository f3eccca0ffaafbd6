"""Evidence for the methods that search for a student."""
