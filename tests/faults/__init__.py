"""What may go wrong around a run, and what must hold all the same."""
