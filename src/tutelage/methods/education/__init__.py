"""Teaching people: tracing what a learner knows, and tutors that talk."""
