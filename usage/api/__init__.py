"""HTTP endpoints of usage."""
