"""The work: skills, runs."""
