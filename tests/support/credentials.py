"""Files with Content Credentials, signed with certificates that are made here."""

import datetime
import functools
import io
import json
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EMAIL, CLAIM_SIGNING, OF_A_MAKER = "1.3.6.1.5.5.7.3.4", "1.3.6.1.4.1.62558.2.1", "1.3.6.1.4.1.99999.7.1"
OPENED: dict[str, Any] = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}}


def created(source="trainedAlgorithmicMedia", **more):
    return {"action": "c2pa.created", **({"digitalSourceType": IPTC + source} if source else {}), **more}


class Authority:
    """A root certificate and what it certifies."""

    def __init__(self, name="Example"):
        self.name, self.key = name, ec.generate_private_key(ec.SECP256R1())
        self.pem = self._certificate("Root", self.key, None, 10**8).decode()

    def signer(self, purpose=EMAIL, seconds=86_400):
        """A signer whose certificate is valid for so many seconds from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self._certificate("Leaf", key, purpose, seconds) + self.pem.encode()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, private, None))

    def _certificate(self, name, key, purpose, seconds):
        root, now = purpose is None, datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name(name)).issuer_name(self._name("Root")).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2)).not_valid_after(now + datetime.timedelta(seconds=seconds))
            .add_extension(x509.BasicConstraints(root, None), True)
            .add_extension(x509.KeyUsage(not root, False, False, False, False, root, root, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
        )  # fmt: skip
        if not root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose)]), False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _name(self, common):
        attributes = ((x509.NameOID.ORGANIZATION_NAME, self.name), (x509.NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(*one) for one in attributes])


@functools.cache
def authority():
    """The authority of signers that nobody asked for by name."""
    return Authority()


@functools.cache
def signer():
    return authority().signer()


def sign(
    data,
    media,
    actions=(),
    *,
    by=None,
    name="Example Program",
    parent=None,
    components=(),
    inputs=(),
    assertions=(),
    claim=2,
    update=False,
    labels=(),
):
    """Sign an encoded picture with a manifest of these actions.

    `parent`, `components` and `inputs` are encoded pictures, which went into it; `assertions` (label, data) beside the actions; `labels` of
    assertions that the signer vouches for; an `update` manifest is put onto a signed picture.
    """
    told = [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}] * bool(actions)
    told += [{"label": label, "data": content} for label, content in assertions]
    manifest = {"claim_generator_info": [{"name": name}], "format": media, "claim_version": claim}
    manifest["assertions"] = [one | ({"created": True} if one["label"] in labels else {}) for one in told]
    settings = {
        "verify": {"verify_trust": False, "verify_after_sign": False, "remote_manifest_fetch": False},
        "trust": {"trust_config": OF_A_MAKER},
        "builder": {"thumbnail": {"enabled": False}},
    }
    with c2pa.Context.from_dict(settings) as context:
        builder = c2pa.Builder(json.dumps(manifest), context=context)
        if update:
            builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
        pictures = [("parentOf", parent)] * (parent is not None)
        pictures += [("componentOf", one) for one in components] + [("inputTo", one) for one in inputs]
        for number, (relationship, picture) in enumerate(pictures):
            about = {"title": f"picture {number}", "relationship": relationship}
            about["instance_id"] = "parent" if relationship == "parentOf" else f"part {number}"
            builder.add_ingredient(json.dumps(about), media, io.BytesIO(picture))
        out = io.BytesIO()
        builder.sign(by or signer(), media, io.BytesIO(data), out)
    return out.getvalue()
