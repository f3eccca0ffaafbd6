"""Evidence for the distillation methods."""
