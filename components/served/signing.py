"""Signed manifests: who made a model, proven before it is loaded.

`MANIFEST.json.sig` is the base64 of an ECDSA signature, SHA-256, of `MANIFEST.json`, which has the
sha256 of every other file. So Sigstore's `cosign verify-blob --key KEY.pub --signature
MANIFEST.json.sig MANIFEST.json` and OpenSSL verify it, and keys of theirs sign it.
"""

from __future__ import annotations

import base64
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from etils import epy

from components.files import MANIFEST, read_regular
from models.mistakes import Mistake

with epy.lazy_imports():
    from cryptography import exceptions
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE = f"{MANIFEST}.sig"
# The environment has the password of a key that has one; a flag would be seen by everybody.
PASSWORD = "SHOULDERS_KEY_PASSWORD"  # noqa: S105 (its name)


def check_keys(private: str, public: str) -> None:
    """A `Mistake` where a key cannot be read, before anything runs."""
    if private:
        _private(Path(private))
    if public:
        _public(Path(public))


def sign(path: Path, key: Path) -> None:
    """Sign the manifest of the model in `path` with a private key, PEM."""
    signature = _private(key).sign(read_regular(path / MANIFEST), ec.ECDSA(hashes.SHA256()))
    (path / SIGNATURE).write_bytes(base64.b64encode(signature) + b"\n")


def verify(path: Path, key: Path) -> None:
    """Compare the signature of the model in `path` with a public key, PEM.

    Raises:
        Mistake: it has none, or it is not by that key, or of another manifest.
    """
    _check_installed()
    try:
        signature = base64.b64decode(read_regular(path / SIGNATURE), validate=False)
        _public(key).verify(signature, read_regular(path / MANIFEST), ec.ECDSA(hashes.SHA256()))
    except FileNotFoundError as error:
        raise Mistake(f"{path} must be signed, got no {SIGNATURE}") from error
    except (exceptions.InvalidSignature, ValueError, OSError) as error:
        raise Mistake(f"{path} must be signed by {str(key)!r}, got another signature") from error


def _check_installed() -> None:
    if find_spec("cryptography") is None:
        raise Mistake("signatures must have their extra installed: pip install '.[signing]'")


def _private(key: Path) -> Any:
    password = os.environ.get(PASSWORD)
    secret = password.encode() if password else None
    return _read(
        key,
        "push.sign",
        lambda raw: serialization.load_pem_private_key(raw, secret),
        lambda found: isinstance(found, ec.EllipticCurvePrivateKey),
    )


def _public(key: Path) -> Any:
    return _read(
        key,
        "push.public_key",
        serialization.load_pem_public_key,
        lambda found: isinstance(found, ec.EllipticCurvePublicKey),
    )


def _read(key: Path, field: str, load: Any, is_ours: Any) -> Any:
    _check_installed()
    try:
        found = load(read_regular(key))
    except (OSError, ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        raise Mistake(f"{field} must be a key in PEM, got {str(key)!r}: {error}") from error
    if not is_ours(found):
        raise Mistake(
            f"{field} must be a key of an elliptic curve, as cosign and openssl ecparam make them, "
            f"got {str(key)!r}"
        )
    return found
