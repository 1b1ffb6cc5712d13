"""Everything of this app that runs beside the requests of a process: the control channel and what is written later.

The first request on an event loop starts it there too; a server starts it before that and stops it at the end.
"""

from kit import control
from tenants import periodic
from tenants.keys import authentication
from tenants.limits import refusals

PARTS = (authentication, refusals)  # importing them is what declares their work


async def start() -> None:
    """Listen to the control channel and write what gathers, on the running loop."""
    control.listener()
    periodic.ensure()


async def stop() -> None:
    """Stop both and write what had gathered."""
    await control.stop()
    await periodic.stop()
