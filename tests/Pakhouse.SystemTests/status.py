"""Reads the status of tokens as an API in another language does: PyJWT for signatures, zlib for the list; nothing of ours.

Reads a JSON object from standard input: jwks, issuer, tokens.
Writes a JSON list: for each token its status number, or the name of the reason why there is none.
"""

import base64
import json
import sys
import urllib.request
import zlib

try:
    import jwt
except ImportError:
    sys.exit("These tests need PyJWT of the distribution. Install the package python3-jwt: apt-get install python3-jwt python3-cryptography")

ask = json.load(sys.stdin)
keys = jwt.PyJWKClient(ask["jwks"])


def decode(token, typ, audience=None):
    key = keys.get_signing_key_from_jwt(token).key
    decoded = jwt.api_jwt.decode_complete(token, key, algorithms=["ES256"], issuer=ask["issuer"], audience=audience, options={"verify_aud": audience is not None, "require": ["iss", "sub", "exp", "iat"]})
    if decoded["header"].get("typ") != typ:
        raise ValueError("typ")
    return decoded["payload"]


def status(token):
    try:
        reference = decode(token, "at+jwt")["status"]["status_list"]
        request = urllib.request.Request(reference["uri"], headers={"Accept": "application/statuslist+jwt"})
        with urllib.request.urlopen(request) as response:
            if response.headers["Content-Type"] != "application/statuslist+jwt":
                return "content type"
            listing = decode(response.read().decode("ascii"), "statuslist+jwt", audience=reference["uri"])
        if listing["sub"] != reference["uri"]:
            return "sub"
        bits, text = listing["status_list"]["bits"], listing["status_list"]["lst"]
        entries = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        byte, shift = divmod(reference["idx"] * bits, 8)
        return entries[byte] >> shift & (1 << bits) - 1
    except (jwt.PyJWTError, ValueError, KeyError, IndexError, zlib.error) as error:
        return type(error).__name__


json.dump([status(token) for token in ask["tokens"]], sys.stdout)
