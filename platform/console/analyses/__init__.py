"""Pages about analyses, batches and webhooks: what failed and why, what was told to whom, and trying either again."""

from console.analyses import pages, webhooks

__all__ = ["pages", "webhooks"]
