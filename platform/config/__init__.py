"""The Django project: wiring only. Every process of ours loads it before anything large."""

from kit import heap

heap.grow()
