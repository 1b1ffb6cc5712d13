"""Batches: one skill over many inputs. A batch is an analysis whose steps are its items, so all that holds there holds here."""
