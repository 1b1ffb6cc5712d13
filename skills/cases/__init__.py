"""Test cases of skills: what an answer must be like, running them, and what a release is measured by."""
