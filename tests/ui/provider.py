"""An OpenID provider for tests: it vouches for whoever it is told to, without asking."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@contextmanager
def provider(claims: Mapping[str, Any]) -> Iterator[str]:
    """Runs a provider that vouches with these claims; yields its address."""
    key = RSAKey.generate_key(2048, {"kid": "test"})
    nonces: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            given = {name: values[0] for name, values in parse_qs(asked.query).items()}
            if asked.path.endswith("openid-configuration"):
                self._tell(_configuration(address))
            elif asked.path == "/keys":
                self._tell({"keys": [key.as_dict(private=False)]})
            else:
                nonces["code"] = given.get("nonce", "")
                self.send_response(302)
                self.send_header(
                    "Location", f"{given['redirect_uri']}?{urlencode({'code': 'code', 'state': given['state']})}"
                )
                self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            now = int(time.time())
            own = {"iss": address, "aud": "workbench", "iat": now, "exp": now + 600, "nonce": nonces.get("code", "")}
            token = jwt.encode({"alg": "RS256", "kid": "test"}, {**own, **claims}, key)
            self._tell({"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": token})

        def _tell(self, document: Mapping[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()


def _configuration(address: str) -> dict[str, Any]:
    return {
        "issuer": address,
        "authorization_endpoint": f"{address}/authorize",
        "token_endpoint": f"{address}/token",
        "jwks_uri": f"{address}/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
