"""Verifies tokens as an API in another language does: PyJWT, and the keys from the JWKS address.

Reads a JSON object from standard input: jwks, issuer, audience, algorithm, verify_signature, tokens.
Writes a JSON list: for each token null when it is accepted, else the name of the reason.
"""

import json
import sys

try:
    import jwt
except ImportError:
    sys.exit("These tests need PyJWT of the distribution. Install the package python3-jwt: apt-get install python3-jwt python3-cryptography")

ask = json.load(sys.stdin)
keys = jwt.PyJWKClient(ask["jwks"])


def refusal(token):
    try:
        key = keys.get_signing_key_from_jwt(token).key if ask["verify_signature"] else None
        # PyJWT turns the checks of claims off with that of the signature, unless they are asked for by name.
        options = {"verify_signature": ask["verify_signature"], "require": ["iss", "aud", "exp", "sub"], "verify_exp": True, "verify_aud": True, "verify_iss": True}
        decoded = jwt.api_jwt.decode_complete(token, key, algorithms=[ask["algorithm"]], audience=ask["audience"], issuer=ask["issuer"], options=options)
        return None if decoded["header"].get("typ") == "at+jwt" else "typ"
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        return type(error).__name__


json.dump([refusal(token) for token in ask["tokens"]], sys.stdout)
