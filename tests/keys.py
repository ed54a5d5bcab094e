"""Certificates for tests: an authority, and who it has signed."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _openssl(where: Path, *words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=where)


def authority(where: Path, *names: str) -> Path:
    """Make ``ca.pem`` in ``where``, and NAME.pem and NAME.key for localhost for each name."""
    where.mkdir(parents=True, exist_ok=True)
    _openssl(where, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority",
             "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    (where / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in names:
        _openssl(where, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        _openssl(where, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return where
