from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgsnet.core.errors import DatasetError, DecodeError
from dgsnet.data.dataset import Dataset, Sample, balanced_order, load_dataset, open_sample
from dgsnet.data.parquet_columns import schema_of
from dgsnet.images.decode import decode


def tree(root: Path, *names: str) -> Path:
    """Files whose content is their name: the data set never decodes an image."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def facts(dataset: Dataset) -> dict[str, tuple[Any, ...]]:
    return {sample.path: (sample.label, sample.generator, sample.source, sample.split) for sample in dataset}


def made(*rows: tuple[str, int | None, str, str]) -> Dataset:
    """A data set without files from (path, label, source, group)."""
    return Dataset(
        Path("/data"), tuple(Sample(p, lab, src if lab else "", src, None, None, group) for p, lab, src, group in rows), "manifest"
    )


# --- Folders ---


def test_universal_fake_detect(tmp_path: Path):
    tree(tmp_path, "progan/car/0_real/a.png", "progan/car/1_fake/b.png", "test/dalle/1_fake/c.jpg", "progan/car/1_fake/deeper/d.webp")
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "0_real/1_fake"
    assert facts(dataset) == {
        "progan/car/0_real/a.png": (0, "", "progan/car", None),
        "progan/car/1_fake/b.png": (1, "progan/car", "progan/car", None),
        "progan/car/1_fake/deeper/d.webp": (1, "progan/car", "progan/car", None),
        "test/dalle/1_fake/c.jpg": (1, "dalle", "dalle", "test"),
    }


def test_genimage(tmp_path: Path):
    dataset = load_dataset(tree(tmp_path, "sdv4/train/ai/1.png", "sdv4/train/nature/n01/2.JPEG", "sdv4/val/ai/3.png"))
    assert dataset.layout == "nature/ai"
    assert facts(dataset) == {
        "sdv4/train/ai/1.png": (1, "sdv4", "sdv4", "train"),
        "sdv4/train/nature/n01/2.JPEG": (0, "", "sdv4", "train"),
        "sdv4/val/ai/3.png": (1, "sdv4", "sdv4", "val"),
    }


def test_real_and_fake(tmp_path: Path):
    dataset = load_dataset(tree(tmp_path, "train/real/coco/a.jpg", "valid/fake/sdxl/b.jpg", "test/FAKE/c.jpg", "real/d.jpg"))
    assert dataset.layout == "real/fake"
    assert facts(dataset) == {
        "real/d.jpg": (0, "", "unknown", None),
        "test/FAKE/c.jpg": (1, "unknown", "unknown", "test"),
        "train/real/coco/a.jpg": (0, "", "coco", "train"),
        "valid/fake/sdxl/b.jpg": (1, "sdxl", "sdxl", "val"),
    }


def test_a_word_of_another_layout_below_does_not_confuse(tmp_path: Path):
    assert load_dataset(tree(tmp_path, "real/nature/a.jpg", "fake/sdxl/b.jpg")).layout == "real/fake"


def test_folders_are_sorted_and_each_image_is_its_own_group(tmp_path: Path):
    dataset = load_dataset(tree(tmp_path, "real/b.jpg", "fake/z.jpg", "real/a.jpg"))
    assert [sample.path for sample in dataset] == ["fake/z.jpg", "real/a.jpg", "real/b.jpg"]
    assert all(sample.group == sample.path for sample in dataset)
    assert dataset.labels().tolist() == [1, 0, 0]
    assert dataset.labels().dtype == np.int64


def test_hidden_files_and_other_suffixes_are_skipped(tmp_path: Path):
    tree(tmp_path, "real/a.jpg", "fake/b.jpg", "fake/._b.jpg", ".cache/c.jpg", "fake/notes.txt", "fake/noextension")
    assert len(load_dataset(tmp_path)) == 2


def test_links_are_followed_but_not_in_circles(tmp_path: Path):
    tree(tmp_path, "data/real/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "data/fake").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/real/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/real/dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    dataset = load_dataset(tmp_path / "data")
    assert [sample.path for sample in dataset] == ["fake/b.jpg", "real/a.jpg"]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([], "holds no images"),
        (["notes.txt"], "holds no images"),
        (["a.jpg", "b/c.jpg"], "nothing says whether a.jpg is real or generated; known are"),
        (["real/a.jpg", "fake/b.jpg", "stray.jpg"], "whether stray.jpg"),
        (["x/0_real/a.jpg", "y/nature/b.jpg"], "nothing says whether"),
        (["real/a.jpg", "real/fake/b.jpg"], "in one of generated"),
        (["real/nature/a.jpg", "fake/ai/b.jpg"], "rename one"),
        (["a.jpg", "shard.tar"], "mixes shards"),
    ],
)
def test_shapes_that_are_none(tmp_path: Path, names: list[str], match: str):
    with pytest.raises(DatasetError, match=match) as caught:
        load_dataset(tree(tmp_path, *names))
    assert str(tmp_path) in str(caught.value)


def test_missing_and_unknown_inputs(tmp_path: Path):
    tree(tmp_path, "a.jpg", "b.xyz")
    for name, match in (("gone", "no such file"), ("a.jpg", "is no data set"), ("b.xyz", "is no data set")):
        with pytest.raises(DatasetError, match=match):
            load_dataset(tmp_path / name)


def test_without_labels(tmp_path: Path):
    tree(tmp_path, "b.jpg", "real/a.jpg", "real/fake/c.jpg")
    dataset = load_dataset(tmp_path, labelled=False)
    assert dataset.layout == "images"
    assert facts(dataset) == dict.fromkeys(("b.jpg", "real/a.jpg", "real/fake/c.jpg"), (None, "", "unknown", None))
    single = load_dataset(tmp_path / "b.jpg", labelled=False)
    assert [single.read(sample) for sample in single] == [b"b.jpg"]
    with pytest.raises(DatasetError, match="has no label"):
        dataset.labels()


# --- Manifests ---

ROWS = [
    {
        "path": "z.jpg",
        "label": "1",
        "generator": "A long description",
        "source": "slug",
        "caption": "a cat",
        "split": "train",
        "group": "g1",
    },
    {"path": "b.jpg", "label": "0", "generator": "", "source": "coco", "caption": "", "split": "", "group": ""},
    {"path": "c.jpg", "label": "fake", "generator": "sdxl", "source": "", "caption": "", "split": "test", "group": ""},
    {"path": "d.jpg", "label": "Real", "generator": "", "source": "", "caption": "ein Hund", "split": "test", "group": ""},
]
EXPECTED = (
    Sample("z.jpg", 1, "slug", "slug", "a cat", "train", "g1"),
    Sample("b.jpg", 0, "", "coco", None, None, "b.jpg"),
    Sample("c.jpg", 1, "sdxl", "sdxl", None, "test", "c.jpg"),
    Sample("d.jpg", 0, "", "unknown", "ein Hund", "test", "d.jpg"),
)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


WRITERS: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None]]] = [
    (".csv", write_csv),
    (".jsonl", write_jsonl),
    (".parquet", write_parquet),
]


@pytest.mark.parametrize(("suffix", "write"), WRITERS)
def test_manifests_keep_their_order(tmp_path: Path, suffix: str, write: Callable[[Path, list[dict[str, Any]]], None]):
    write(tmp_path / f"manifest{suffix}", ROWS)
    for place in (tmp_path, tmp_path / f"manifest{suffix}"):
        dataset = load_dataset(place)
        assert dataset.samples == EXPECTED
        assert (dataset.root, dataset.layout) == (tmp_path, "manifest")


@pytest.mark.parametrize(("suffix", "write"), WRITERS[1:])
def test_labels_that_are_numbers(tmp_path: Path, suffix: str, write: Callable[[Path, list[dict[str, Any]]], None]):
    write(tmp_path / f"m{suffix}", [{"path": "a.jpg", "label": 0}, {"path": "b.jpg", "label": 1}])
    assert load_dataset(tmp_path / f"m{suffix}").labels().tolist() == [0, 1]
    write(tmp_path / f"m{suffix}", [{"path": "a.jpg", "label": None}, {"path": "b.jpg", "label": 1.0}])
    assert [sample.label for sample in load_dataset(tmp_path / f"m{suffix}", labelled=False)] == [None, 1]


def test_absolute_paths(tmp_path: Path):
    tree(tmp_path, "data/a.jpg", "other/b.jpg")
    paths = [str(tmp_path / "data/a.jpg"), str(tmp_path / "other/b.jpg")]
    write_csv(tmp_path / "data/m.csv", [{"path": path, "label": "0"} for path in paths])
    dataset = load_dataset(tmp_path / "data/m.csv")
    assert [sample.path for sample in dataset] == ["a.jpg", paths[1]]
    assert [dataset.read(sample) for sample in dataset] == [b"data/a.jpg", b"other/b.jpg"]


def test_caption_column(tmp_path: Path):
    write_csv(tmp_path / "m.csv", [{"path": "a.jpg", "label": "0", "caption": "one", "uniform": "two"}])
    assert load_dataset(tmp_path / "m.csv").samples[0].caption == "one"
    assert load_dataset(tmp_path / "m.csv", caption_column="uniform").samples[0].caption == "two"
    with pytest.raises(DatasetError, match="no column other"):
        load_dataset(tmp_path / "m.csv", caption_column="other")


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("m.csv", "path,label\na.jpg,0\nb.jpg,maybe\n", "line 3: unknown label 'maybe'"),
        ("m.csv", "path,label\na.jpg,\n", "line 2: has no label"),
        ("m.csv", "path,label\na.jpg,2\n", "unknown label '2'"),
        ("m.csv", "file,label\na.jpg,0\n", "line 2: has no path"),
        ("m.csv", "path,label\n", "holds no images"),
        ("m.csv", "path,label\na.jpg,0\na.jpg,1\n", "listed 2 times"),
        ("m.jsonl", '{"path": "a.jpg", "label": 0}\n{"path": \n', "line 2: is no JSON"),
        ("m.jsonl", "[1]\n", "line 1: is no JSON object"),
        ("m.parquet", "no parquet", "no readable .parquet"),
    ],
)
def test_manifests_that_are_wrong(tmp_path: Path, name: str, text: str, match: str):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=match):
        load_dataset(tmp_path / name)


def test_bytes_that_are_no_text_and_two_manifests(tmp_path: Path):
    (tmp_path / "manifest.csv").write_bytes(b"path,label\n\xff\xfe,0\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        load_dataset(tmp_path)
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.jpg"}')
    with pytest.raises(DatasetError, match=r"manifest.csv and manifest.jsonl"):
        load_dataset(tmp_path)


# --- Tar shards ---


def shard(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_webdataset(tmp_path: Path):
    note = {"label": "fake", "generator": "sdxl", "caption": "a dog", "split": "val", "group": 7}
    shard(tmp_path / "b.tar", {"./x/0001.jpg": b"first" * 300, "./x/0001.cls": b"0\n", "./x/0001.txt": b"a cat", "._junk.jpg": b""})
    shard(tmp_path / "a.tar", {"0001.json": json.dumps(note).encode(), "0001.png": b"second"})
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "webdataset"
    assert [replace(sample, offset=0) for sample in dataset] == [
        Sample("a.tar/0001.png", 1, "sdxl", "sdxl", "a dog", "val", "7", "a.tar", 0, 6),
        Sample("b.tar/x/0001.jpg", 0, "", "unknown", "a cat", None, "b.tar/x/0001.jpg", "b.tar", 0, 1500),
    ]
    assert [dataset.read(sample) for sample in reversed(dataset.samples)] == [b"first" * 300, b"second"]
    single = load_dataset(tmp_path / "a.tar")
    assert [single.read(sample) for sample in single] == [b"second"]


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"a.jpg": b"1"}, "a.jpg: has no label"),
        ({"a.jpg": b"1", "a.cls": b"9"}, "unknown label '9'"),
        ({"a.jpg": b"1", "a.json": b"{"}, "a.json: is no JSON"),
        ({"a.jpg": b"1", "a.png": b"2", "a.cls": b"0"}, "share one key"),
        ({"a.cls": b"0"}, "holds no images"),
    ],
)
def test_shards_that_are_wrong(tmp_path: Path, members: dict[str, bytes], match: str):
    shard(tmp_path / "a.tar", members)
    with pytest.raises(DatasetError, match=match):
        load_dataset(tmp_path)


def test_compressed_damaged_and_shortened_shards(tmp_path: Path):
    members = {"a.jpg": b"1" * 3000, "a.cls": b"0"}
    shard(tmp_path / "a.tar.gz", members, "w:gz")
    for place in (tmp_path, tmp_path / "a.tar.gz"):
        with pytest.raises(DatasetError, match="is compressed"):
            load_dataset(place)
    (tmp_path / "a.tar.gz").rename(tmp_path / "a.tar")
    with pytest.raises(DatasetError, match="no plain tar"):
        load_dataset(tmp_path / "a.tar")
    shard(tmp_path / "a.tar", members)
    dataset = load_dataset(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:2000])
    with pytest.raises(DatasetError, match="the shard ends"):
        dataset.read(dataset.samples[0])


def test_unlabelled_shard(tmp_path: Path):
    shard(tmp_path / "a.tar", {"a.jpg": b"1"})
    assert load_dataset(tmp_path, labelled=False).samples[0].label is None


# --- Reading and fingerprint ---


def test_a_file_that_is_gone(tmp_path: Path):
    dataset = load_dataset(tree(tmp_path, "real/a.jpg"))
    (tmp_path / "real/a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"real/a.jpg: cannot be read"):
        dataset.read(dataset.samples[0])


def test_fingerprint(tmp_path: Path):
    first = load_dataset(tree(tmp_path / "one", "real/a.jpg", "fake/b.jpg"))
    same = load_dataset(tree(tmp_path / "two", "real/a.jpg", "fake/b.jpg"))
    assert first.fingerprint() == same.fingerprint()
    sample = same.samples[0]
    others = [
        replace(same, samples=(replace(sample, **change), *same.samples[1:]))
        for change in ({"label": 0}, {"split": "val"}, {"caption": "x"})
    ]
    others += [replace(same, samples=same.samples[::-1]), replace(same, samples=same.samples[:1])]
    (tmp_path / "two/fake/b.jpg").write_text("other")
    assert same.fingerprint() == first.fingerprint(), "taken once"
    others.append(load_dataset(tmp_path / "two"))
    assert len({first.fingerprint(), *(other.fingerprint() for other in others)}) == 7


# --- Choices ---


def test_with_split():
    dataset = Dataset(
        Path("/d"), tuple(Sample(f"{i}", 0, "", "s", None, split, "g") for i, split in enumerate(["train", "val", None])), "x"
    )
    assert [sample.path for sample in dataset.with_split("train")] == ["0"]
    assert len(dataset.with_split("train", "val")) == 2
    with pytest.raises(DatasetError, match="no image of split test; the data has train, val"):
        dataset.with_split("test")


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def sourced(reals: list[int], fakes: list[int]) -> Dataset:
    return made(
        *(
            (f"{lab}/{s}/{i}", lab, f"{lab}{s}", f"{lab}/{s}/{i}")
            for lab, of in ((1, fakes), (0, reals))
            for s, n in enumerate(of)
            for i in range(n)
        )
    )


@settings(max_examples=60, deadline=None)
@given(sizes, sizes, st.integers(2, 80), st.integers(0, 5))
def test_a_balanced_subset_has_equal_labels_and_water_filled_sources(reals: list[int], fakes: list[int], limit: int, seed: int):
    whole = sourced(reals, fakes)
    subset = whole.balanced_subset(limit, seed)
    count = min(limit // 2, sum(reals), sum(fakes))
    assert Counter(subset.labels().tolist()) == {0: count, 1: count}
    assert list(subset) == [sample for sample in whole if sample in set(subset)]
    for label, available in ((0, reals), (1, fakes)):
        taken = Counter(sample.source for sample in subset if sample.label == label)
        shares = [taken[f"{label}{source}"] for source in range(len(available))]
        unfilled = [share for share, size in zip(shares, available, strict=True) if share < size]
        assert not unfilled or max(shares) - min(unfilled) <= 1


def test_a_balanced_subset_depends_on_the_seed_and_keeps_its_choice_as_data_grows():
    small, large = sourced([30], [30]), sourced([33], [33])
    first = {sample.path for sample in small.balanced_subset(20, 1)}
    assert first == {sample.path for sample in small.balanced_subset(20, 1)}
    assert first != {sample.path for sample in small.balanced_subset(20, 2)}
    assert len(first & {sample.path for sample in large.balanced_subset(20, 1)}) >= 14


def test_a_subset_of_one_label_and_one_too_small():
    assert len(made(("a", 1, "s", "a"), ("b", 1, "s", "b")).balanced_subset(1, 0)) == 1
    with pytest.raises(DatasetError, match="raise the limit"):
        sourced([3], [3]).balanced_subset(1, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 15)), min_size=1, max_size=60), st.floats(0.05, 0.95), st.integers(0, 5))
def test_groups_never_part(members: list[tuple[int, int]], fraction: float, seed: int):
    whole = made(*((f"{i}", label, "s", f"g{group}") for i, (label, group) in enumerate(members)))
    if len({sample.group for sample in whole}) == 1:
        with pytest.raises(DatasetError, match="too few"):
            whole.split_by_group(fraction, seed)
        return
    try:
        rest, held = whole.split_by_group(fraction, seed)
    except DatasetError:
        kinds = Counter(frozenset(label for label, group in members if group == g) for g in {group for _, group in members})
        assert set(kinds.values()) == {1}, "each kind of group has one member only"
        return
    assert not {sample.group for sample in rest} & {sample.group for sample in held}
    assert sorted([*rest, *held], key=lambda sample: int(sample.path)) == list(whole)
    assert [sample.path for sample in held] == [sample.path for sample in whole.split_by_group(fraction, seed)[1]]


def test_the_held_out_part_is_stratified():
    whole = made(*((f"{i}", int(i % 4 == 0), "s", f"g{i}") for i in range(400)))
    rest, held = whole.split_by_group(0.2, 3)
    assert Counter(held.labels().tolist()) == {0: 60, 1: 20}
    assert len(rest) == 320
    assert set(held) != set(whole.split_by_group(0.2, 4)[1])


def test_large_groups_do_not_make_the_held_out_part_overshoot():
    whole = made(*((f"{i}", 0, "s", f"large{i // 15}" if i < 150 else f"g{i}") for i in range(200)))
    for seed in range(8):
        assert len(whole.split_by_group(0.1, seed)[1]) == 20


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 2])
def test_a_fraction_is_between_0_and_1(fraction: float):
    with pytest.raises(DatasetError, match="between 0 and 1"):
        sourced([2], [2]).split_by_group(fraction, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=50), st.integers(0, 9), st.integers(0, 9), st.integers(1, 4))
def test_a_balanced_order(labels: list[int], seed: int, epoch: int, half: int):
    array = np.array(labels)
    order = balanced_order(array, seed, epoch)
    assert order.dtype == np.int64
    assert np.array_equal(order, balanced_order(array, seed, epoch))
    counts = np.bincount(order, minlength=len(labels))
    larger = max(labels.count(0), labels.count(1))
    if len(set(labels)) == 1:
        assert sorted(order) == list(range(len(labels)))
        return
    assert len(order) == 2 * larger
    for label in (0, 1):
        of = counts[array == label]
        assert of.sum() == larger
        assert of.max() - of.min() <= 1
    for start in range(0, len(order) - 2 * half + 1, 2 * half):
        assert array[order[start : start + 2 * half]].sum() == half


def test_a_balanced_order_changes_with_seed_and_epoch_and_hides_the_label():
    labels = np.array([0, 1] * 20 + [0] * 10)
    orders = {balanced_order(labels, seed, epoch).tobytes() for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    first_of_pairs = labels[balanced_order(labels, 0, 0)[::2]]
    assert 0 < first_of_pairs.mean() < 1
    with pytest.raises(DatasetError, match="0 and 1"):
        balanced_order(np.array([0, 1, 2]), 0, 0)


def test_a_missing_file_does_not_end_the_fingerprint_but_changes_it(tmp_path: Path):
    for label in ("real", "fake"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(label.encode())
    dataset = load_dataset(tmp_path)
    gone = load_dataset(tmp_path)
    whole = dataset.fingerprint()
    (tmp_path / "fake" / "a.png").unlink()
    assert gone.fingerprint() != whole


# --- Samples as file objects, and columns ---


def test_an_open_sample_is_read_up_to_a_limit_and_named_in_errors(tmp_path: Path):
    dataset = load_dataset(tree(tmp_path, "0_real/a.png", "1_fake/b.png"))
    opened = open_sample(dataset, dataset.samples[0])
    assert opened.read(4) == b"0_re"
    assert opened.read(100) == b"0_real/a.png"  # anew: it has no position
    with pytest.raises(DecodeError, match=r"^0_real/a\.png: is none of JPEG"):
        decode(opened)
    (tmp_path / "0_real" / "a.png").unlink()
    with pytest.raises(DecodeError, match=r"^0_real/a\.png: cannot be read; restore it or leave it out$"):
        decode(opened)


def test_unreadable_parquet_is_complained_of_in_the_words_of_the_caller(tmp_path: Path):
    pq.write_table(pa.table({"path": ["a"], "label": [0]}), tmp_path / "whole.parquet")
    assert schema_of(tmp_path / "whole.parquet").names == ["path", "label"]
    broken = tmp_path / "{braces}.parquet"
    broken.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"\{braces\}\.parquet: is no readable \.parquet file \(.+\); download it again$"):
        schema_of(broken)
    with pytest.raises(DatasetError, match=r"^the rows .*\{braces\}\.parquet are gone: .+"):
        schema_of(broken, "the rows {file} are gone: {error}")
