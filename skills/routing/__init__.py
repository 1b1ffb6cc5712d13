"""Which model answers a call, and why: fixed, by the input's size, by a classifier, by what is left of the budget."""

from skills.routing.classifier import SECONDS, in_doubt, question, verdict
from skills.routing.routes import Plan, Route, classifying_model, plan

__all__ = ["SECONDS", "Plan", "Route", "classifying_model", "in_doubt", "plan", "question", "verdict"]
