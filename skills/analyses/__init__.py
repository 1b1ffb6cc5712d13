"""Long analyses: documents far beyond one call, worked on step by step, never lost, never paid twice."""
