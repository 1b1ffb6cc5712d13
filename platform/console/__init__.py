"""The admin sites and the pages that need several apps at once."""
