"""Content Credentials: intact, altered and unknown kept apart, the chain back to the beginning, what is shown and what counts."""

import copy
import dataclasses
import functools
import http.server
import io
import itertools
import json
import struct
import sys
import threading
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dgsnet.evaluation.audit.columns import measure
from dgsnet.provenance import Provenance, TrustAnchors, c2pa, read
from dgsnet.provenance.c2pa import examined, library, statuses
from tests.support import hostile_parts
from tests.support.credentials import CLAIM_SIGNING, EMAIL, IPTC, OF_A_MAKER, OPENED, Authority, created, sign

JPEG = "image/jpeg"
PLACED = {"action": "c2pa.placed", "parameters": {"ingredientIds": ["part 1"]}}


def encoded(kind="JPEG", seed=0, **options):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


def changed(data, place=-40):
    """A file of which one bit of the pixels is another."""
    other = bytearray(data)
    other[place] ^= 1
    return bytes(other)


def found(provenance, kind):
    return [(one.value, one.says) for one in provenance.findings if one.kind == kind]


def answer(provenance):
    return provenance.signature, provenance.signer, provenance.says


@functools.cache
def photograph():
    return sign(encoded(), JPEG, [created("digitalCapture")], name="Example Camera")


@functools.cache
def generated():
    return sign(encoded(seed=1), JPEG, [created()], name="Example Generator")


# --- intact, altered, and who signed ---


@pytest.fixture(scope="module")
def expired():
    """Authorities by name, and files that were signed with certificates which have expired since: (authorities, files)."""
    home, away = Authority("Home"), Authority("Away")
    files = {one.name: sign(encoded("PNG"), "image/png", [created()], by=one.signer(seconds=2)) for one in (home, away)}
    made = time.monotonic()
    assert read(files["Home"]).signer == "unknown"
    time.sleep(max(0.0, made + 3.1 - time.monotonic()))
    return {one.name: one for one in (home, away)}, files


def test_an_expired_certificate_leaves_the_file_intact_and_its_claims_claims(expired):
    provenance = read(expired[1]["Home"])
    assert answer(provenance) == ("intact", "expired", ["generated"])
    ((words, _),) = found(provenance, "c2pa.signer.status")
    assert words.startswith(f"expired: the certificate was valid from {time.strftime('%Y-')}")
    assert "does not hold" not in provenance.summary


def test_an_expired_certificate_is_not_trusted_even_of_a_trusted_authority(expired):
    authorities, files = expired
    assert read(files["Home"], TrustAnchors(authorities["Home"].pem)).signer == "expired"


def test_an_expired_certificate_does_not_hide_that_the_file_was_altered(expired):
    provenance = read(changed(expired[1]["Away"]))
    assert (provenance.signature, provenance.says) == ("altered", [])


@pytest.mark.parametrize("purpose", [EMAIL, CLAIM_SIGNING, OF_A_MAKER])
def test_the_purpose_of_the_key_changes_nothing_of_what_was_signed(purpose):
    provenance = read(sign(encoded(), JPEG, [created()], by=Authority().signer(purpose)))
    assert answer(provenance) == ("intact", "unknown", ["generated"])
    assert any("EKU" in words for words, _ in found(provenance, "c2pa.signer.status")) == (purpose == OF_A_MAKER)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_changed_bit_voids_all_claims(kind):
    data = sign(encoded(kind), f"image/{kind.lower()}", [created()], name="ChatGPT")
    whole, other = read(data), read(changed(data, 40 if kind == "WEBP" else -40))  # a WebP has its manifest behind the pixels
    assert answer(whole) == ("intact", "unknown", ["generated"])
    assert answer(other) == ("altered", "unknown", [])
    assert {one.says for one in other.findings} == {"unknown"}
    assert found(other, "c2pa.validation")[0][0].startswith("altered: ")
    assert "assertion.dataHash.mismatch" in found(other, "c2pa.validation")[0][0]
    assert [one.value for one in other.findings][2:] == [one.value for one in whole.findings][2:]
    assert "altered after its C2PA manifest was signed" in other.summary


def test_an_altered_manifest_is_altered_too():
    data = generated()
    place = data.index(b"trainedAlgorithmicMedia")
    provenance = read(changed(data, place))
    assert (provenance.signature, provenance.says) == ("altered", [])
    assert "assertion.hashedURI.mismatch" in found(provenance, "c2pa.validation")[0][0]


def test_no_manifest_no_signature():
    assert answer(read(encoded())) == ("none", "none", [])


# --- trust anchors ---


def test_trusted_is_said_with_an_anchor_and_only_then():
    home, away = Authority("Home"), Authority("Away")
    data = sign(encoded(), JPEG, [created()], by=home.signer(CLAIM_SIGNING))
    assert read(data).signer == "unknown"
    assert read(data, TrustAnchors(away.pem)).signer == "unknown"
    assert read(data, TrustAnchors(away.pem + home.pem)).signer == "trusted"
    assert "not checked against any list" in found(read(data), "c2pa.signer.status")[0][0]
    assert "none of the trusted authorities" in found(read(data, TrustAnchors(away.pem)), "c2pa.signer.status")[0][0]
    assert found(read(data, TrustAnchors(home.pem)), "c2pa.signer.status")[0][0].startswith("trusted: ")
    altered = read(changed(data), TrustAnchors(home.pem))
    assert answer(altered) == ("altered", "unknown", [])


def test_a_makers_own_purpose_is_trusted_where_it_is_given_too():
    home = Authority("Home")
    data = sign(encoded(), JPEG, [created()], by=home.signer(OF_A_MAKER))
    assert read(data, TrustAnchors(home.pem)).signer == "unknown"
    assert read(data, TrustAnchors(home.pem, (OF_A_MAKER,))).signer == "trusted"


# --- the chain ---


def chained(*actions, parent=None, **more):
    return read(sign(encoded(seed=2), JPEG, actions, parent=parent, **more))


WATERMARKS = [
    {"action": "c2pa.edited", "description": "Added visible watermark", "digitalSourceType": IPTC + "composite"},
    {
        "action": "c2pa.edited",
        "description": "Applied imperceptible SynthID watermark.",
        "digitalSourceType": IPTC + "trainedAlgorithmicMedia",
    },
    {"action": "c2pa.watermarked"},
]


@pytest.mark.parametrize(
    "action", [*WATERMARKS, *({"action": f"c2pa.{name}"} for name in ("converted", "resized", "published", "transcoded"))]
)
def test_a_generated_picture_stays_generated_and_is_not_edited_by_what_leaves_it_as_it_is(action):
    provenance = chained(OPENED, action, parent=generated())
    assert answer(provenance) == ("intact", "unknown", ["generated"])
    twice = chained(OPENED, parent=sign(encoded(seed=3), JPEG, [OPENED, action], parent=generated()))
    assert twice.says == ["generated"]


def test_actions_are_listed_in_order_with_their_agents_from_the_active_manifest_back():
    actions = [
        OPENED,
        {"action": "c2pa.color_adjustments", "softwareAgent": {"name": "Example Editor", "version": "2"}},
        {"action": "c2pa.cropped"},
    ]
    provenance = chained(*actions, parent=photograph())
    assert found(provenance, "c2pa.action") == [
        ("c2pa.opened", "unknown"),
        ("c2pa.color_adjustments by Example Editor 2", "edited"),
        ("c2pa.cropped", "edited"),
    ]
    assert found(provenance, "c2pa.ingredient.action") == [("c2pa.created", "unknown")]
    assert found(provenance, "c2pa.ingredient.digitalSourceType") == [(f"{IPTC}digitalCapture (c2pa.created)", "camera")]
    assert provenance.says == ["edited", "camera"]


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ({"digitalSourceType": IPTC + "trainedAlgorithmicMedia"}, ["ai-edited", "camera"]),
        ({"digitalSourceType": IPTC + "compositeWithTrainedAlgorithmicMedia"}, ["ai-edited", "camera"]),
        ({"parameters": {"com.adobe.digitalSourceType": IPTC + "trainedAlgorithmicMedia"}}, ["ai-edited", "camera"]),
        ({"softwareAgent": "Adobe Firefly"}, ["ai-edited", "camera"]),
        ({"description": "Generative Fill"}, ["ai-edited", "camera"]),
        ({"description": "Edited with Example AI"}, ["ai-edited", "camera"]),
        ({"description": "not edited with AI"}, ["edited", "camera"]),
        ({}, ["edited", "camera"]),
    ],
)
def test_a_model_edits_a_photograph(action, says):
    assert chained(OPENED, {"action": "c2pa.edited"} | action, parent=photograph()).says == says


def test_a_model_that_edits_its_own_picture_makes_it_no_edited_photograph():
    for source in ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"):
        assert chained(OPENED, {"action": "c2pa.edited", "digitalSourceType": IPTC + source}, parent=generated()).says == ["generated"]


def test_a_generated_part_makes_a_photograph_a_composite():
    provenance = chained(OPENED, PLACED, parent=photograph(), components=[generated()])
    assert provenance.says == ["ai-edited", "camera"]
    lines = found(provenance, "c2pa.ingredient")
    assert lines == [("parentOf picture 0", "unknown"), ("componentOf picture 1", "ai-edited")]


def test_a_photograph_that_was_put_into_a_generated_picture_does_not_make_it_one():
    assert chained(OPENED, PLACED, parent=generated(), components=[photograph()]).says == ["generated", "edited"]


def test_parts_on_an_empty_canvas():
    empty = {"action": "c2pa.created", "digitalSourceType": "http://c2pa.org/digitalsourcetype/empty"}
    placed = [{"action": "c2pa.placed", "parameters": {"ingredientIds": [f"part {number}"]}} for number in range(2)]
    assert chained(empty, placed[0], components=[generated()]).says == ["generated"]
    assert chained(empty, *placed, components=[generated(), photograph()]).says == ["ai-edited", "edited"]
    assert chained(empty, placed[0], components=[photograph()]).says == ["edited"]


def test_what_a_model_only_looked_at_says_nothing_of_its_picture():
    assert chained(created(), inputs=[photograph()]).says == ["generated"]
    assert chained(created("digitalCapture"), inputs=[generated()]).says == ["camera"]


def test_an_unknown_parent_is_named():
    provenance = chained(OPENED, parent=encoded())
    assert answer(provenance) == ("intact", "unknown", [])
    assert found(provenance, "c2pa.ingredient") == [("parentOf picture 0: it has no manifest", "unknown")]


@pytest.mark.parametrize("deep", [False, True])
def test_claims_of_an_altered_ingredient_count_for_nothing(deep):
    parent = changed(generated())
    if deep:
        parent = sign(encoded(seed=5), JPEG, [OPENED], parent=parent)
    provenance = chained(OPENED, parent=parent)
    assert answer(provenance) == ("intact", "unknown", [])
    assert found(provenance, "c2pa.ingredient")[-1][0].endswith("altered, so its claims count for nothing (assertion.dataHash.mismatch)")
    assert (f"{IPTC}trainedAlgorithmicMedia (c2pa.created)", "unknown") in found(provenance, "c2pa.ingredient.digitalSourceType")


def test_an_altered_component_makes_no_composite():
    provenance = chained(OPENED, PLACED, parent=photograph(), components=[changed(generated())])
    assert answer(provenance) == ("intact", "unknown", ["edited", "camera"])


def test_a_manifest_of_an_ingredient_that_was_changed_afterwards():
    data = sign(encoded(seed=2), JPEG, [OPENED], parent=generated())
    provenance = read(changed(data, data.index(b"trainedAlgorithmicMedia")))
    assert answer(provenance) == ("intact", "unknown", [])
    assert "ingredient.manifest.mismatch" in found(provenance, "c2pa.ingredient")[0][0]


def test_an_update_manifest_edits_no_pixel():
    edit = {"action": "c2pa.edited.metadata", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    data = sign(photograph(), JPEG, [edit], update=True)
    assert answer(read(data)) == ("intact", "unknown", ["camera"])
    assert ("c2pa.edited.metadata (an update, which changes no pixel)", "unknown") in found(read(data), "c2pa.action")
    assert answer(read(sign(generated(), JPEG, [edit], update=True))) == ("intact", "unknown", ["generated"])


def test_an_update_manifest_over_altered_pixels_is_altered():
    edit = {"action": "c2pa.edited.metadata"}
    assert answer(read(changed(sign(photograph(), JPEG, [edit], update=True)))) == ("altered", "unknown", [])
    assert answer(read(sign(changed(photograph()), JPEG, [edit], update=True))) == ("altered", "unknown", [])


# --- where generation is said ---


MODEL = ("c2pa.ai-disclosure", {"modelType": "c2pa.types.model"})
NO_TRAINING = ("c2pa.training-mining", {"entries": {"c2pa.ai_generative_training": {"use": "notAllowed"}}})
CONTEXT = {"@context": {"Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "tiff": "http://ns.adobe.com/tiff/1.0/"}}


def iptc(name, value, label="cawg.metadata"):
    return label, {**CONTEXT, f"Iptc4xmpExt:{name}": value}


@pytest.mark.parametrize(
    ("action", "assertion", "says"),
    [
        (created(None, softwareAgent="Bing Image Creator"), None, ["generated"]),
        (created(None, description="AI Generated Image"), None, ["generated"]),
        (created(None, description="Image generated by generative AI"), None, ["generated"]),
        (created(None, description="This is not AI-generated"), None, []),
        (created("digitalCapture", description="AI-generated in no part"), None, ["camera"]),
        (created("digitalCapture", softwareAgent="Adobe Firefly"), None, ["camera"]),
        (created("compositeWithTrainedAlgorithmicMedia"), None, ["ai-edited"]),
        (created("negativeFilm"), None, ["scanner"]),
        (created("digitalCreation"), ("c2pa.ai_generated_content", {"ai_generated": True}), ["generated"]),
        (created("digitalCapture"), ("c2pa.ai_generated_content", {"ai_generated": False}), ["camera"]),
        (created(None), MODEL, ["generated"]),
        (created("digitalCapture"), MODEL, ["ai-edited", "camera"]),
        (created("digitalCapture"), NO_TRAINING, ["camera"]),
        (created(None), iptc("DigitalSourceType", IPTC + "trainedAlgorithmicMedia", "stds.iptc"), ["generated"]),
        (created(None), iptc("DigitalSourceType", {"@id": IPTC + "digitalCapture"}), ["camera"]),
        (created(None), iptc("AISystemUsed", "Example 2"), ["generated"]),
        (created(None), iptc("AISystemUsed", "None"), []),
        (created(None), ("stds.exif", CONTEXT | {"tiff:Make": "Nikon", "tiff:Model": "Z 6"}), ["camera"]),
        (created(), ("stds.exif", CONTEXT | {"tiff:Make": "Nikon"}), ["generated"]),
    ],
)
def test_generation_is_said_in_many_places(action, assertion, says):
    data = sign(encoded(), JPEG, [action], assertions=[assertion] if assertion else [])
    assert answer(read(data)) == ("intact", "unknown", says)


def test_the_program_that_made_the_claim_counts_where_nothing_else_is_said():
    edited = [created("digitalCapture"), {"action": "c2pa.edited"}]
    assert read(sign(encoded(), JPEG, [created(None)], name="ChatGPT")).says == ["generated"]
    assert read(sign(encoded(), JPEG, edited, name="ChatGPT")).says == ["edited", "camera"]
    assert chained(OPENED, parent=photograph(), name="ChatGPT").says == ["camera"]


def test_a_model_named_in_the_parameters_of_an_opened_picture():
    opened = copy.deepcopy(OPENED)
    opened["parameters"] |= {"com.adobe.digitalSourceType": IPTC + "trainedAlgorithmicMedia", "com.adobe.details": "imagen-3.0"}
    assert chained(opened, parent=encoded()).says == ["generated"]


def test_claims_of_the_first_version_are_read_as_well():
    data = sign(encoded(), JPEG, [created(softwareAgent="Example 1.0")], claim=1)
    assert answer(read(data)) == ("intact", "unknown", ["generated"])
    assert found(read(data), "c2pa.gathered") == []


def test_what_the_signer_only_passes_on_is_told_apart():
    more = [("c2pa.ai_generated_content", {"ai_generated": True})]
    data = sign(encoded(), JPEG, [created()], assertions=more, labels=["c2pa.actions.v2"])
    ((words, _),) = found(read(data), "c2pa.gathered")
    assert words.startswith("c2pa.ai_generated_content: the signer passes on")


def test_what_is_not_to_the_standard_is_said_and_changes_no_answer():
    provenance = read(sign(encoded(), JPEG, [created(None)]))
    assert answer(provenance) == ("intact", "unknown", [])
    assert "assertion.action.malformed" in found(provenance, "c2pa.remark")[0][0]


def test_many_actions_are_cut_and_no_claim_is_lost():
    edits = [{"action": f"com.example.step{number}"} for number in range(100)]
    provenance = read(
        sign(
            encoded(),
            JPEG,
            [created("digitalCapture"), *edits, {"action": "c2pa.edited", "digitalSourceType": IPTC + "trainedAlgorithmicMedia"}],
        )
    )
    assert provenance.says == ["ai-edited", "edited", "camera"]
    assert len(provenance.findings) < 50
    assert found(provenance, "c2pa.manifest")[0][0].endswith("further entries are not shown")


# --- where a manifest lies ---


def pages(number):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for seed in range(number):
            writer.write(np.random.default_rng(seed).integers(0, 255, (48, 48, 3), np.uint8), photometric="rgb", metadata=None)
    return stream.getvalue()


def as_jpeg_xl():
    """The signature and two boxes of a JPEG XL file: enough to lie in one."""
    codestream = b"\xff\x0a" + b"\0" * 64
    boxes = struct.pack(">I4s", 20, b"ftyp") + b"jxl \0\0\0\0jxl " + struct.pack(">I4s", 8 + len(codestream), b"jxlc") + codestream
    return b"\0\0\0\x0cJXL \r\n\x87\n" + boxes


CONTAINERS = {
    "gif": ("image/gif", lambda: encoded("GIF")),
    "avif": ("image/avif", lambda: encoded("AVIF")),
    "jxl": ("image/jxl", as_jpeg_xl),
    "tiff": ("image/tiff", lambda: encoded("TIFF")),
    "tiff of pages": ("image/tiff", lambda: pages(3)),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_manifest_is_found_in_every_container(kind):
    media, make = CONTAINERS[kind]
    plain = make()
    assert answer(read(plain)) == ("none", "none", [])
    signed = sign(plain, media, [created()])
    assert answer(read(signed)) == ("intact", "unknown", ["generated"])


def test_an_altered_gif():
    data = sign(encoded("GIF"), "image/gif", [created()])
    assert answer(read(changed(data, -10))) == ("altered", "unknown", [])


PROVENANCE = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</rdf:RDF></x:xmpmeta>'
SPELLINGS = [
    '<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" dcterms:provenance="{}"/>',
    "<rdf:Description xmlns:dcterms='http://purl.org/dc/terms/' dcterms:provenance = '{}'/>",
    '<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/"><dcterms:provenance>{}</dcterms:provenance></rdf:Description>',
    '<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/"><dcterms:provenance rdf:resource="{}"/></rdf:Description>',
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_manifest_that_lies_at_an_address_is_named(spelling):
    address = "https://example.com/m.c2pa?a=1&amp;b=2"
    provenance = read(encoded(xmp=PROVENANCE.format(spelling.format(address)).encode()))
    assert answer(provenance) == ("none", "none", [])
    assert found(provenance, "c2pa.remote") == [("a manifest lies at https://example.com/m.c2pa?a=1&b=2; it was not fetched", "unknown")]
    assert "says nothing" not in provenance.summary


def test_a_place_in_the_same_file_is_no_address():
    assert read(encoded(xmp=PROVENANCE.format(SPELLINGS[0].format("self#jumbf=c2pa/x")).encode())).findings == []


@pytest.fixture
def listener():
    """A web server on this machine that notes who asks: (its address, paths asked for)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_POST = do_GET  # noqa: N815 - the name the server looks for

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("offline", [True, False])
def test_nothing_is_fetched(listener, offline):
    """With the library's own settings, which the last case shows to ask, the test would see the request."""
    address, asked = listener
    data = encoded(xmp=PROVENANCE.format(SPELLINGS[0].format(f"{address}/remote")).encode())
    chosen = library.settings(None) if offline else {}
    import c2pa as native

    with native.Context.from_dict(chosen) as context, pytest.raises(native.C2paError):
        native.Reader(None, io.BytesIO(data), context=context)
    assert asked == ([] if offline else ["/remote"])
    asked.clear()
    assert read(data).signature == "none"
    assert asked == []


@pytest.mark.parametrize(
    "data",
    [
        hostile_parts.jpeg_with(hostile_parts.segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x50jumb\0\0\0\x20jumdc2pa" + b"\0" * 40)),
        hostile_parts.png_with(hostile_parts.chunk(b"caBX", b"\0\0\0\x50jumb\0\0\0\x20jumdc2pa" + b"\0" * 40)),
    ],
)
def test_presence_alone_where_the_manifest_cannot_be_checked(data, monkeypatch):
    assert measure(data)["mark"] == "content credentials"
    provenance = read(data)
    assert answer(provenance) == ("unchecked", "unknown", [])
    ((words, _),) = found(provenance, "c2pa.manifest")
    assert words.startswith("present but not readable, signature not checked")
    monkeypatch.setitem(sys.modules, "c2pa", None)  # as where it is not installed
    without = read(data)
    assert answer(without) == ("unchecked", "unknown", [])
    assert found(without, "c2pa.manifest") == [("present; signature not checked: c2pa-python is not installed", "unknown")]
    assert not c2pa.is_available()


# --- status codes ---


def store(*failures, signed=True, recorded=()):
    """A store in crJSON of an active manifest with a generated parent, with these failures (code, label) of the active one."""

    def url(label, part="c2pa.signature"):
        return f"self#jumbf=/c2pa/{label}/{part}"

    def manifest(label, assertions):
        return {"label": label, "assertions": assertions, "claim.v2": {"claim_generator_info": {"name": "Example"}}, "signature": {}}

    parent = {
        "relationship": "parentOf",
        "dc:title": "parent",
        "activeManifest": {"url": url("parent", "")},
        "validationResults": {"activeManifest": {"failure": [{"code": code, "url": url("parent", "x")} for code in recorded]}},
    }
    active = manifest("active", {"c2pa.ingredient.v3": parent})
    active["validationResults"] = {
        "success": [{"code": "claimSignature.validated", "url": url("active")}] if signed else [],
        "failure": [{"code": code, "url": url(label)} for code, label in failures],
    }
    return [active, manifest("parent", {"c2pa.actions.v2": {"actions": [created()]}})]


def test_every_meaning_leads_to_its_answer():
    expected = {
        "altered": ("altered", "unknown", []),
        "expired": ("intact", "expired", ["generated"]),
        "unchecked": ("unchecked", "unknown", ["generated"]),
    }
    for code, meaning in statuses.MEANINGS.items():
        result = examined.read_store(store((code, "active")))
        says = [one.says for one in result.findings if one.says != "unknown"]
        assert (result.signature, result.signer, says) == expected.get(meaning, ("intact", "unknown", ["generated"])), code


def test_a_failure_that_is_not_known_is_named_and_neither_intact_nor_altered():
    result = examined.read_store(store(("claim.somethingNew", "active")))
    assert (result.signature, result.signer) == ("unchecked", "unknown")
    assert "claim.somethingNew" in result.findings[0].value
    for code in ("assertion.action.somethingNew", "timeStamp.somethingNew", "signingCredential.somethingNew"):
        assert examined.read_store(store((code, "active"))).signature == "intact"


def test_an_identity_beside_the_signature_is_no_affair_of_it():
    assert examined.read_store(store(("cawg.x509.signature.mismatch", "active"))).signature == "intact"


def test_nothing_is_intact_of_which_no_signature_is_said_to_fit():
    assert examined.read_store(store(signed=False)).signature == "unchecked"


@pytest.mark.parametrize("code", ["claimSignature.mismatch", "ingredient.manifest.missing", "assertion.hashedURI.mismatch"])
def test_a_failure_of_the_parent_voids_the_parent_alone(code):
    for case in (store((code, "parent")), store(recorded=[code])):
        result = examined.read_store(case)
        assert (result.signature, {one.says for one in result.findings}) == ("intact", {"unknown"})


def test_a_revoked_certificate_is_said_and_not_trusted():
    case = store(("signingCredential.ocsp.revoked", "active"))
    case[0]["validationResults"]["success"].append({"code": "signingCredential.trusted", "url": "self#jumbf=/c2pa/active/c2pa.signature"})
    result = examined.read_store(case, has_anchors=True)
    assert (result.signature, result.signer) == ("intact", "unknown")
    assert any(one.value.startswith("revoked: ") for one in result.findings)
    case[0]["validationResults"]["failure"] = []
    assert examined.read_store(case, has_anchors=True).signer == "trusted"


def test_a_time_stamp_is_shown_with_what_is_wrong_with_it():
    case = store(("signingCredential.expired", "active"))
    case[0]["signature"] = {"timeStampInfo": {"timestamp": "2024-01-02T03:04:05+00:00", "certificateInfo": {"subject": {"O": "Stamps"}}}}
    case[0]["validationResults"]["informational"] = [{"code": "timeStamp.untrusted", "url": "self#jumbf=/c2pa/active/c2pa.signature"}]
    result = examined.read_store(case)
    assert (result.signature, result.signer) == ("intact", "expired")
    (stamp,) = [one.value for one in result.findings if one.kind == "c2pa.timestamp"]
    assert stamp.startswith("2024-01-02T03:04:05+00:00 by Stamps")
    assert "timeStamp.untrusted" in stamp


def test_manifests_that_go_back_to_themselves_come_to_an_end():
    case = store()
    case[1]["assertions"]["c2pa.ingredient.v3"] = {"relationship": "parentOf", "activeManifest": {"url": "self#jumbf=/c2pa/active"}}
    case[0]["isUpdateManifest"] = case[1]["isUpdateManifest"] = True
    assert examined.read_store(case).signature == "intact"


# --- hostile stores ---


def places(value, path=()):
    yield path
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(one, (*path, key))


def put(value, path, new):
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


WRONG = [None, 0, True, "", "x", [], {}, [None], [[]], {"url": 1}, [{"url": None}], [{"code": 1, "url": []}], {"": {"": []}}]


def test_a_store_of_any_shape_is_read():
    action = created(None, softwareAgentIndex=0, related=[created()], parameters={"a": [{"digitalSourceType": "x"}]})
    data = sign(
        encoded(),
        JPEG,
        [OPENED, action],
        parent=generated(),
        assertions=[("cawg.metadata", {"@context": {"tiff": "x"}, "tiff:Make": "Nikon"})],
    )
    import c2pa as native

    whole = [*library.read_store(native, data, None), *store(("assertion.dataHash.mismatch", "active"))]
    whole[0]["assertions"]["c2pa.actions.v2"]["templates"] = [{"action": "*", "description": "x"}]
    for path, wrong in itertools.product([one for one in places(whole) if len(one) > 1], WRONG):
        case = put(whole, path, wrong)
        if isinstance(case[0]["label"], str) and all(isinstance(one.get("label"), str) for one in case):
            examined.read_store(case)


@functools.cache
def signed_png():
    return sign(encoded("PNG"), "image/png", [created()])


BYTES = st.one_of(
    st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"\xff" * 8])
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(place=st.floats(0, 1, exclude_max=True), new=BYTES)
def test_damaged_manifests_raise_nothing_and_are_never_intact(place, new):
    data = signed_png()
    start, end = data.find(b"jumb"), data.find(b"IDAT") - 8
    at = start + int(place * (end - start - len(new)))
    other = data[:at] + new + data[at + len(new) :]
    provenance = read(other)
    if other != data and b"pad" not in data[at - 8 : at + 40]:  # what fills a manifest up is free
        assert provenance.signature != "intact" or provenance.findings == read(data).findings


def test_signed_files_are_read_by_many_threads_at_once(detector):
    signed = [sign(encoded(kind), f"image/{kind.lower()}", [created()]) for kind in ("JPEG", "PNG", "WEBP")]
    expected = [read(data) for data in signed]
    assert all(len(one.findings) >= 4 for one in expected)
    rows = list(detector.detect_many(signed * 20, workers=8, provenance=True))
    assert [row.provenance for row in rows] == expected * 20


def test_what_is_said_fits_into_json():
    provenance = read(generated())
    assert Provenance(**json.loads(json.dumps(dataclasses.asdict(provenance)))).signature == "intact"


def test_a_chain_of_pages_is_followed_to_an_end_and_round_in_no_circle():
    def directory(after, entries=0):
        return struct.pack("<H", entries) + b"\0" * 12 * entries + struct.pack("<I", after)

    circle = struct.pack("<2sHI", b"II", 42, 8) + directory(14) + directory(8)
    long = struct.pack("<2sHI", b"II", 42, 8) + b"".join(directory(8 + (number + 1) * 6) for number in range(200_000))
    for data in (circle, circle[:-2], long, struct.pack("<2sHI", b"II", 42, 2**32 - 1)):
        assert answer(read(data)) == ("none", "none", [])


@pytest.mark.parametrize("size", [0, 1, 7, 8, 2**32 - 1])
def test_boxes_of_any_size_come_to_an_end(size):
    data = struct.pack(">I4s", 8, b"ftyp") + struct.pack(">I4s", size, b"free") * 4
    assert answer(read(data)) == ("none", "none", [])
