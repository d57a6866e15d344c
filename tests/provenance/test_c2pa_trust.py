"""Trust anchors: read from files, and handed to whatever reads provenance."""

import dataclasses
import functools
import io
import json
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dgsnet.core.errors import TrustError
from dgsnet.inference.asked import Asked
from dgsnet.provenance import TrustAnchors
from tests.support.credentials import CLAIM_SIGNING, OF_A_MAKER, Authority, created, sign
from tests.support.serving import SETTINGS, post, serving


@functools.cache
def home():
    return Authority("Home")


@functools.cache
def signed():
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(stream, "PNG")
    return sign(stream.getvalue(), "image/png", [created()], by=home().signer(CLAIM_SIGNING))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(signed())
    return folder


@pytest.fixture
def pem(tmp_path):
    file = tmp_path / "anchors.pem"
    file.write_text(f"## Home's root\n{home().pem}")
    return file


# --- files ---


def test_certificates_are_read_from_a_file_or_a_folder(tmp_path, pem):
    assert TrustAnchors.load(pem) == TrustAnchors(home().pem)
    folder = tmp_path / "anchors"
    folder.mkdir()
    (folder / "b.CRT").write_text(home().pem)
    (folder / "a.pem").write_text(f"Subject: CN=Away\n{Authority('Away').pem}\n\n{Authority('Far').pem}")
    (folder / "readme.txt").write_text("no certificate")
    found = TrustAnchors.load(folder)
    assert found.count == 3
    assert found.pem.endswith(home().pem)
    assert found.fingerprint != TrustAnchors.load(pem).fingerprint


def test_a_folder_may_name_purposes_of_keys(tmp_path):
    (tmp_path / "anchors.pem").write_text(home().pem)
    (tmp_path / "store.cfg").write_text(f"//of a maker\n{OF_A_MAKER}\n1.3.6.1.5.5.7.3.36 \n")
    found = TrustAnchors.load(tmp_path)
    assert found.purposes == (OF_A_MAKER, "1.3.6.1.5.5.7.3.36")
    assert found.fingerprint != TrustAnchors(found.pem).fingerprint


def broken(number):
    lines = home().pem.splitlines()
    lines[3] = {0: lines[3][:-2] + "!!", 1: lines[3][:20], 2: "A" * len(lines[3])}[number]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no certificate in it"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "no certificate in it"),
        ("\0\x01\x02" * 50, "no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "certificate 1 is damaged"),
        (broken(0), "certificate 1 is damaged"),
        (broken(1), "certificate 1 is damaged"),
        (broken(2), "certificate 1 is damaged"),
        (home().pem + broken(0), "certificate 2 is damaged"),
        (home().pem[:-40], "no certificate in it"),
        (home().pem + home().pem[:-40], "cut off or damaged"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, said):
    for place, given in ((tmp_path / "bad.pem", tmp_path / "bad.pem"), (tmp_path / "folder" / "bad.pem", tmp_path / "folder")):
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
        with pytest.raises(TrustError, match=said) as error:
            TrustAnchors.load(given)
        assert str(error.value).startswith(f"{place}: ")


def test_nothing_to_read_is_named(tmp_path):
    for given in (tmp_path / "missing.pem", tmp_path):
        with pytest.raises(TrustError) as error:
            TrustAnchors.load(given)
        assert str(error.value).startswith(f"{given}: ")


# --- where they go ---


def test_they_travel_between_processes(pem):
    anchors = TrustAnchors.load(pem)
    assert pickle.loads(pickle.dumps(anchors)) == anchors  # noqa: S301 - as Ray hands them to its workers
    asked = Asked(provenance=True, anchors=anchors)
    assert Asked.from_dict(json.loads(json.dumps(asked.as_dict()))) == asked  # as the service hands it to its decoders


@pytest.mark.parametrize("report", [False, True])
def test_detect_says_trusted_with_them_and_only_then(run, tiny_model, pictures, pem, tmp_path, report):
    common = (
        "detect",
        pictures,
        "--model",
        tiny_model,
        "--json",
        "--provenance",
        *(("--report", tmp_path / "page.html") if report else ()),
    )
    for more, signer in (((), "unknown"), (("--trust-anchors", pem), "trusted")):
        code, out, _ = run(*common, *more)
        rows = [json.loads(line)["provenance"] for line in out.splitlines()]
        assert (code, {(row["signature"], row["signer"], *row["says"]) for row in rows}) == (0, {("intact", signer, "generated")})


@pytest.mark.parametrize("command", ["detect", "score", "serve"])
def test_a_bad_file_ends_a_command_before_the_model_is_loaded(run, pictures, tmp_path, command):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    given = {"detect": (pictures,), "score": ("--data", pictures, "--out", tmp_path / "out"), "serve": ()}[command]
    code, _, err = run(command, *given, "--model", tmp_path / "no model", "--trust-anchors", bad)
    assert code == 2
    assert f"{bad}: no certificate in it" in err.replace("\n", "")


def test_score_writes_provenance_where_it_is_asked_for(run, tiny_model, pictures, pem, tmp_path):
    detected = [
        json.loads(line) for line in run("detect", pictures, "--model", tiny_model, "--json", "--trust-anchors", pem)[1].splitlines()
    ]
    out = tmp_path / "out"
    common = ("score", "--data", pictures, "--model", tiny_model, "--out", out)
    assert run(*common, "--trust-anchors", pem)[0] == 0
    rows = pq.read_table(out / "part-00000.parquet").to_pylist()
    assert [{name: value for name, value in row.items() if name != "key"} for row in rows] == detected
    assert [row["provenance"]["signer"] for row in rows] == ["trusted", "trusted"]  # the second out of the cache
    assert run(*common, "--trust-anchors", pem)[0] == 0
    for more in ((), ("--provenance",)):
        code, _, err = run(*common, *more)
        assert code == 2
        assert "holds a run of provenance yes, 1 trust anchors" in err.replace("\n", " ")


def test_score_without_it_has_the_columns_of_before(run, tiny_model, pictures, tmp_path):
    assert run("score", "--data", pictures, "--model", tiny_model, "--out", tmp_path / "out")[0] == 0
    assert "provenance" not in pq.read_schema(tmp_path / "out" / "part-00000.parquet").names
    assert "provenance" not in json.loads((tmp_path / "out" / "manifest.json").read_text())["identity"]


def test_the_service_says_trusted_with_them_and_only_then(detector, pem):
    for anchors, signer in ((None, "unknown"), (TrustAnchors.load(pem), "trusted")):
        with serving(detector, dataclasses.replace(SETTINGS, asked=Asked(provenance=True, anchors=anchors))) as (client, _):
            (row,) = post(client, signed()).json()["results"]
        assert (row["provenance"]["signature"], row["provenance"]["signer"], row["provenance"]["says"]) == ("intact", signer, ["generated"])
        assert {"kind": "c2pa.signer", "value": "Home, Leaf", "says": "unknown"} in row["provenance"]["findings"]
