"""An nginx of its own: one folder of documents over HTTP and HTTPS (HTTP/2)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.servers.process import Server, free_port
from tests.servers.tls import issue_certificate

CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  log_format requests '$connection $request_method $uri $status $server_protocol';
  access_log {folder}/access.log requests;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/octet-stream;
  sendfile on;
  keepalive_requests 100000;
  server {{
    listen {host}:{port};
    listen {host}:{https_port} ssl http2;
    listen {other_host}:{https_port} ssl http2;
    ssl_certificate {tls.cert_file};
    ssl_certificate_key {tls.key_file};
    {versions}
    root {root};
    autoindex on;
    location /private/ {{
      alias {root}/;
      auth_basic "private";
      auth_basic_user_file {folder}/passwords;
    }}
    location /rounded/ {{ alias {root}/; autoindex_exact_size off; }}
    location /json/ {{ alias {root}/; autoindex_format json; }}
  }}
}}
"""


OLD_TLS = "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"


class NginxServer(Server):
    """nginx; `root` is its documents, which `/rounded/` and `/json/` list in other ways.

    `/private/` wants `user` and `password`. `access_log`: `connection method path status protocol`
    a line. `only_old_tls`: TLS 1.1 and nothing newer.
    """

    program = "nginx"
    package = "nginx"
    #: The certificate is not made out for this one.
    other_host = "127.0.0.2"
    user = "biomaj"
    password = "web-secret"

    def __init__(self, *, only_old_tls: bool = False) -> None:
        super().__init__()
        self.https_port = free_port()
        self.root = self.folder / "root"
        self.root.mkdir()
        self.access_log = self.folder / "access.log"
        certificate = issue_certificate(self.folder, self.host)
        self.ca_file: Path = certificate.ca_file
        (self.folder / "passwords").write_text(f"{self.user}:{{PLAIN}}{self.password}\n")
        self._config_path = self.folder / "nginx.conf"
        self._config_path.write_text(
            CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=self.folder,
                host=self.host,
                other_host=self.other_host,
                port=self.port,
                https_port=self.https_port,
                tls=certificate,
                versions=OLD_TLS if only_old_tls else "",
                root=self.root,
            )
        )

    @property
    def url(self) -> str:
        """Return the HTTP URL of `root`, without a last slash."""
        return f"http://{self.host}:{self.port}"

    @property
    def https_url(self) -> str:
        """Return the HTTPS URL of `root`, without a last slash."""
        return f"https://{self.host}:{self.https_port}"

    def command(self) -> list[str]:
        return [self.program_path, "-p", str(self.folder), "-c", str(self._config_path)]

    def is_ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return super().is_ready() and probe.connect_ex((self.host, self.https_port)) == 0
