"""The main job: annotate → train → evaluate → report → export, in a folder that resumes; then predict at scale."""
