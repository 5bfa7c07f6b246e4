"""A PAM service of its own: a password for a test server without an account on this host.

PAM reads `/etc/pam.d` only, so one small file stands there while the server lives.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.servers.process import MissingServer, find_program

SERVICE_FOLDER = Path("/etc/pam.d")

# pam_exec would need no package, but vsftpd takes the end of its child for the end of a session.
SERVICE = """\
auth required pam_pwdfile.so nodelay pwdfile={passwords}
account required pam_permit.so
session required pam_permit.so
"""


class PamService:
    """Accepts one user with one password, written to `folder`; needs root."""

    def __init__(self, name: str, folder: Path, *, user: str, password: str) -> None:
        if not list(Path("/lib").glob("*/security/pam_pwdfile.so")):
            raise MissingServer("pam_pwdfile.so is not installed (apt-get install libpam-pwdfile)")
        openssl = find_program("openssl", "openssl")
        command = [openssl, "passwd", "-6", password]
        digest = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        passwords = folder / "passwords"
        passwords.write_text(f"{user}:{digest.stdout}")
        passwords.chmod(0o600)
        self._path = SERVICE_FOLDER / name
        self._path.write_text(SERVICE.format(passwords=passwords))

    def close(self) -> None:
        """Take the service away."""
        self._path.unlink(missing_ok=True)
