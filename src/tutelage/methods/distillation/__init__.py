"""Knowledge distillation: a student learns from what a teacher says."""
