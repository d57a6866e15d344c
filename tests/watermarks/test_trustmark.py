"""TrustMark: its code is ours, its networks the user's. The graphs here have its shape and answer with bits that they were given."""

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dgsnet.core.errors import DgsnetError
from dgsnet.images.decode import decode
from dgsnet.watermarks import Reader, trustmark
from dgsnet.watermarks.bch import CODES

PACKETS = {
    0: 0xAAAAAAAAAA160FC51D3AECD70,
    1: 0xAAAAAAAAAAAAAAACF60CE8971,
    2: 0xAAAAAAAAAAAAAAAAA9103DA02,
    3: 0xAAAAAAAAAAAAAAAAAAA26A3D3,
}
PIXELS = np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8)


def bits_of(word, schema, wrong=()):
    number = word << 4 | schema
    for place in wrong:
        number ^= 1 << place + 4
    return np.array([number >> place & 1 for place in reversed(range(100))], bool)


def graph(file, bits, side=256):
    """A graph as Adobe's decoders are, (1, 3, side, side) to (1, 100): `bits` of a bright picture, their opposite of a dark one."""
    signs = np.where(bits, 1, -1).astype(np.float32)[None]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("MatMul", ["column", "signs"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(bits)])]
    held = [numpy_helper.from_array(signs, "signs"), numpy_helper.from_array(np.array([1]), "last")]
    model = helper.make_model(
        helper.make_graph(nodes, "decoder", inputs, outputs, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, file)


@pytest.mark.parametrize("schema", CODES)
def test_a_code_mends_what_it_promises_and_no_more(schema):
    code, chance = CODES[schema], random.Random(schema)  # noqa: S311
    for wrong in range(code.mends + 1):
        payload = chance.getrandbits(code.data)
        word = code.encode(payload)
        assert word.bit_length() <= code.length == 96
        for place in chance.sample(range(96), wrong):
            word ^= 1 << place
        assert code.mend(word) == (payload, wrong)
    mended = [code.mend(chance.getrandbits(96)) for _ in range(300)]
    assert sum(one is not None for one in mended) < 45  # with BCH_3 one in 14


def test_words_of_trustmarks_own_encoder():
    """Packets of trustmark 0.9.2, `DataLayer(100, False, schema).encode_binary`, of the payload 1010..."""
    for schema, packet in PACKETS.items():
        code = CODES[schema]
        payload = int("10" * (code.data // 2) + "1" * (code.data % 2), 2)
        assert code.encode(payload) << 4 | schema == packet
        found = trustmark.payload(bits_of(packet >> 4, schema), "P")
        assert found == trustmark.Payload("P", code.name, payload, code.data, 0)


@pytest.mark.parametrize(("schema", "most"), [(0, 8), (1, 4), (2, 2), (3, 1)])
def test_more_wrong_bits_than_chance_may_have_are_no_mark(schema, most):
    word = CODES[schema].encode(12345678901)
    assert trustmark.payload(bits_of(word, schema, range(0, 3 * most, 3))).mended == most
    assert trustmark.payload(bits_of(word, schema, range(0, 3 * most + 3, 3))) is None


@pytest.mark.parametrize("bits", [np.zeros(100, bool), np.ones(100, bool), bits_of(0, 1), bits_of(1, 1), bits_of(CODES[1].encode(5), 5)])
def test_what_a_network_may_say_of_nothing(bits):
    assert trustmark.payload(bits) is None


def test_random_bits_are_no_mark():
    rng = np.random.default_rng(1)
    assert not any(trustmark.payload(bits) for bits in rng.integers(0, 2, (3000, 100)).astype(bool))


def test_a_mark_is_a_finding_that_says_what_was_not_measured(tmp_path):
    graph(tmp_path / "decoder_Q.onnx", bits_of(CODES[1].encode(0xABCDE), 1, [7]))
    reader = Reader.load(tmp_path)
    assert reader.variants == ("TrustMark Q",)
    bright, dark = (decode(np.full((300, 420, 3), level, np.uint8)) for level in (200, 50))
    (one,) = reader(bright)
    assert (one.kind, one.says) == ("watermark.trustmark", "unknown")
    assert one.value.startswith("TrustMark, variant Q, BCH_5, payload 00000000000abcde, 1 bits mended; false alarms: not measured")
    assert len(one.value) <= 200
    assert reader(dark) == []
    assert Reader()(bright) == []


def test_what_part_of_a_picture_a_decoder_sees(tmp_path):
    for variant, side in (("Q", 245), ("P", 224)):
        graph(tmp_path / f"decoder_{variant}.onnx", np.ones(100, bool), side)
    q, p = trustmark.load(tmp_path)
    assert [(one.variant, one.side) for one in (q, p)] == [("Q", 245), ("P", 224)]
    wide = np.zeros((100, 190, 3), np.uint8)
    wide[:, 45:145] = 255  # more than half of it: bright on the whole
    assert q.bits(wide).all()
    wide[:, 80:110] = 0  # less than half of the whole, more than half of the square
    assert not q.bits(wide).any()
    assert p.bits(wide).all()
    assert q.bits(np.pad(wide, ((0, 0), (20, 20), (0, 0)))).all()  # beyond 2 to 1 the square for it, too


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_folders_without_a_decoder_that_works(tmp_path, content):
    with pytest.raises(DgsnetError, match=r"holds no decoder of TrustMark; expected decoder_Q\.onnx"):
        Reader.load(tmp_path)
    (tmp_path / "decoder_B.onnx").write_bytes(content)
    with pytest.raises(DgsnetError, match=r"decoder_B\.onnx: no decoder of TrustMark .*fetch it again"):
        Reader.load(tmp_path)
    graph(tmp_path / "decoder_B.onnx", np.ones(7, bool))
    with pytest.raises(DgsnetError, match="as it gives 7 bits where 100 are expected"):
        Reader.load(tmp_path)
