"""Months are closed once and for good; what comes later is an adjustment."""
