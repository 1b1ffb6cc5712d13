"""How dates are worded in English."""
