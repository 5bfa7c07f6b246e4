"""The public mirrors of the documentation, here: their names, a few of their files."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import trustme

from tests.servers.nginx import NginxServer
from tests.servers.proxy import RecordingProxy

HOSTS = ("ftp.ncbi.nlm.nih.gov", "ftp.uniprot.org", "ftp.ensembl.org")
UNIPROT = "pub/databases/uniprot/current_release/knowledgebase/complete"
ENSEMBL = "pub/current_fasta/homo_sapiens/dna"


class Mirrors(NginxServer):
    """Serves by HTTPS under all HOSTS, for who trusts `ca_file` and asks `proxy()` for them."""

    def __init__(self) -> None:
        super().__init__()
        authority = trustme.CA()
        issued = authority.issue_cert(*HOSTS)
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        issued.private_key_pem.write_to_path(self.folder / "key.pem")
        (self.folder / "cert.pem").write_bytes(b"".join(p.bytes() for p in issued.cert_chain_pems))
        self._add_blast()
        self._add_uniprot()
        self._add_ensembl()

    def proxy(self) -> RecordingProxy:
        """Return a proxy that knows the hosts."""
        return RecordingProxy({f"{host}:443": self.https_port for host in HOSTS})

    def _add(self, path: str, body: bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        return file

    def _add_blast(self) -> None:
        for name in ("taxdb.tar.gz", "swissprot.tar.gz"):
            body = io.BytesIO()
            with tarfile.open(fileobj=body, mode="w:gz") as archive:
                entry = tarfile.TarInfo(name.partition(".")[0] + ".btd")
                entry.size = 1000
                archive.addfile(entry, io.BytesIO(b"x" * entry.size))
            self._add(f"blast/db/{name}", body.getvalue())
            digest = hashlib.md5(body.getvalue()).hexdigest()
            self._add(f"blast/db/{name}.md5", f"{digest}  {name}\n".encode())

    def _add_uniprot(self) -> None:
        entries = ""
        for name in ("uniprot_sprot.dat.gz", "uniprot_sprot.fasta.gz", "uniprot_trembl.dat.gz"):
            body = gzip.compress(name.encode() * 100)
            self._add(f"{UNIPROT}/{name}", body)
            entries += (
                f'<file name="{name}"><size>{len(body)}</size><verification>'
                f'<hash type="md5">{hashlib.md5(body).hexdigest()}</hash></verification></file>'
            )
        metalink = (
            '<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/">'
            f"<version>2026_03</version><files>{entries}</files></metalink>"
        )
        self._add(f"{UNIPROT}/RELEASE.metalink", metalink.encode())

    def _add_ensembl(self) -> None:
        name = "Homo_sapiens.GRCh38.dna.primary_assembly.fa.gz"
        file = self._add(f"{ENSEMBL}/{name}", gzip.compress(b">1\nACGT\n" * 100))
        said = subprocess.run(["sum", file], capture_output=True, text=True, check=True).stdout
        checksum, blocks, *_ = said.split()
        self._add(f"{ENSEMBL}/CHECKSUMS", f"{checksum} {blocks} {name}\n".encode())
