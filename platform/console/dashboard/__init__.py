"""What one sees on entering: how today and the month stand, and what needs a look."""
