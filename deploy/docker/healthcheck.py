"""The container's health check: asks the server for a sign of life, by a host name it answers to."""

import http.client
import os
import sys

HOSTS = os.environ.get("SKILLGATE_ALLOWED_HOSTS", "localhost")


def main() -> int:
    """Return 0 when the server answers, 1 otherwise."""
    host = HOSTS.split(",")[0].strip().lstrip(".").replace("*", "localhost")
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=4)
    try:
        connection.request("GET", "/health/live", headers={"Host": host})
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
