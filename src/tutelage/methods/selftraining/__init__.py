"""Self-training: a student learns from what a teacher that follows it says about unlabelled examples."""
