#!/usr/bin/env bash
# c2pa-python: an action given to the Builder is filed among the gathered assertions; the same action by intent among the created ones.
#
# Versions: c2pa-python 0.38.1, cryptography 50.0.2, Pillow 13.0.0, Python 3.11.
#
# Behaviour: a version 2 claim of C2PA, which the Builder writes unless told otherwise, has two lists. `created_assertions` are those that the
# claim generator makes itself; `gathered_assertions` came to it from elsewhere. "c2pa.created" with a digital source type is what a generator
# says of its own picture. Given in the manifest's `assertions` or by `add_action`, it goes to the gathered ones; the generator then states
# nothing by itself except the hash of the file. `set_intent(CREATE, ...)` with the same source type puts the same action among the created
# ones, and so do `"created": true` on the assertion and the setting `builder.created_assertion_labels`. A version 1 claim has one list. All
# of these files are valid, and `Reader.json()` shows the difference only by the key `created`, which is absent from a gathered assertion.
#
# Why it matters: a reader that trusts only what the signer itself asserts takes a picture whose own generator signed it for one about which
# nothing was said, while a reader that looks at the actions alone sees no difference. Manifests of the older form, with a list of assertions,
# changed their meaning without a word when the claim's version went up.
#
# Output seen:
#   in the manifest:               gathered, Valid
#   by add_action:                 gathered, Valid
#   by set_intent:                 created, Valid
#   in the manifest, marked:       created, Valid
#   in the manifest, by setting:   created, Valid
#   in the manifest, version 1:    one list, Valid
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet c2pa-python==0.38.1 cryptography==50.0.2 pillow==13.0.0 2> /dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import datetime
import io
import json
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
ACTION = {"action": "c2pa.created", "digitalSourceType": SOURCE}
NOW = datetime.datetime.now(datetime.timezone.utc)


def certificate(name: str, key: Any, root_key: Any) -> bytes:
    """Return a certificate of this key: of the root where both keys are one, else of a signer."""
    root = key is root_key
    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"), x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
        for common in (name, "Root")
    )
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False)
    day = datetime.timedelta(1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), NOW - day, NOW + day)
    builder = builder.add_extension(x509.BasicConstraints(root, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, **usage), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
chain = certificate("Signer", key, root_key) + certificate("Root", root_key, root_key)
private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None))
picture = io.BytesIO()
Image.new("RGB", (64, 64), (90, 120, 40)).save(picture, "JPEG")


def filed(way: str, version: int = 2, marked: bool = False, labels: tuple[str, ...] = ()) -> tuple[str, str]:
    """Return in which list of the claim the action is found, and the state of validation."""
    settings: dict[str, Any] = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_trust": False}}
    if labels:
        settings["builder"]["created_assertion_labels"] = list(labels)
    manifest: dict[str, Any] = {"claim_generator_info": [{"name": "Example"}], "format": "image/jpeg", "claim_version": version}
    if way == "manifest":
        manifest["assertions"] = [{"label": "c2pa.actions.v2", "data": {"actions": [ACTION]}} | ({"created": True} if marked else {})]
    with c2pa.Context.from_dict(settings) as context:
        builder = c2pa.Builder(json.dumps(manifest), context=context)
        if way == "add_action":
            builder.add_action(json.dumps(ACTION))
        if way == "set_intent":
            builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA)
        signed = io.BytesIO()
        builder.sign(signer, "image/jpeg", io.BytesIO(picture.getvalue()), signed)
    signed.seek(0)
    with c2pa.Reader("image/jpeg", signed) as reader:
        told = json.loads(reader.detailed_json())
        state = json.loads(reader.json())["validation_state"]
    claim = told["manifests"][told["active_manifest"]]["claim"]
    lists = {"created": "created_assertions", "gathered": "gathered_assertions", "one list": "assertions"}
    found = [name for name, key in lists.items() if any("c2pa.actions" in one["url"] for one in claim.get(key) or [])]
    return " and ".join(found), state


ways = {
    "in the manifest": filed("manifest"),
    "by add_action": filed("add_action"),
    "by set_intent": filed("set_intent"),
    "in the manifest, marked": filed("manifest", marked=True),
    "in the manifest, by setting": filed("manifest", labels=("c2pa.actions",)),
    "in the manifest, version 1": filed("manifest", version=1),
}
for name, (place, state) in ways.items():
    print(f"{name + ':':<30} {place}, {state}")
places = [place for place, _ in ways.values()]
assert places == ["gathered", "gathered", "created", "created", "created", "one list"], "the behaviour has changed"
assert {state for _, state in ways.values()} == {"Valid"}, "the behaviour has changed"
PYTHON
