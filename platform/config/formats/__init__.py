"""How dates are worded, by language."""
