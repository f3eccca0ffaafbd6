"""Evidence for the methods that adapt a student to new domains and tasks."""
