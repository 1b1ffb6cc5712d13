"""HTTP endpoints of skills."""
