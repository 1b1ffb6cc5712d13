"""The pages on which a tenant writes its skills: versions, labels, cases, the release gate, pins, folders."""

from console import navigation
from console.skills import authoring, cases, exchange, overview, pins, releasing, runs, versions

__all__ = ["PAGES"]
PAGES = (overview, authoring, versions, releasing, cases, runs, exchange, pins)  # importing them declares their pages

navigation.add("", title="Skills", icon="auto_awesome", name="skills", right="skills.see")
