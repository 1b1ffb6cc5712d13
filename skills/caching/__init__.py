"""Answers kept for the same request again."""
