"""Skills as tools of the Model Context Protocol (Streamable HTTP): each skill a key may run is a tool.

https://modelcontextprotocol.io/specification — stateless, so that any process can answer any request.
"""

from skills.mcp.gate import Gate

__all__ = ["Gate"]
