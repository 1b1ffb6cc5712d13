"""The nginx configuration that we ship, run for real; only addresses and paths are a test's own."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_SHIPPED = ROOT / "deploy" / "nginx"
_AROUND = """
{user}
pid {folder}/pid; error_log {folder}/error.log; daemon off; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/skillgate.conf;
}}
"""


def start(folder: Path, *, servers: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    """Run nginx before some web processes (`host:port`)."""
    assert NGINX
    (folder / "skillgate.conf").write_text(_configured(folder, servers=servers, port=port))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user))
    return subprocess.Popen([NGINX, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"])


def _configured(folder: Path, *, servers: Sequence[str], port: int) -> str:
    text = (_SHIPPED / "skillgate.conf").read_text()
    for ours, here in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("server web:8000 max_fails=0;", " ".join(f"server {one} max_fails=0;" for one in servers)),
        ("/etc/nginx/skillgate-proxy.conf", str(_SHIPPED / "skillgate-proxy.conf")),
        ("/dev/stdout", f"{folder}/access.log"),
    ):
        assert ours in text
        text = text.replace(ours, here)
    return text
