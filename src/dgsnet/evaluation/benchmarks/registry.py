"""The public benchmarks: their subsets, which photographs belong to which, and how many images were published.

A count stands here only where a paper, README or data set card states it, and says which (`Count.source`); everything else is unknown and
is reported as such. Subsets and layouts are those of the READMEs and evaluation code of the repositories HorizonTEL/AIGIBench,
WisconsinAIVision/UniversalFakeDetect (`dataset_paths.py`), Ekko-zn/AIGCDetectBenchmark (`eval_config.py`) and GenImage-Dataset/GenImage.

| benchmark | released as | photographs of a subset |
|---|---|---|
| `universalfakedetect` | `<generator>[/<category>]/{0_real,1_fake}`; diffusion `<setting>/1_fake` | its own, or `{laion,imagenet}/0_real` |
| `aigcdetectbenchmark` | `<generator>[/<category>]/{0_real,1_fake}` | its own |
| `aigibench` | `test/<subset>/{0_real,1_fake}` | its own |
| `genimage` | `<generator>/[imagenet_...]/val/{nature,ai}` | its own |
| `chameleon` | `test/{0_real,1_fake}` | its own |
| `hires50k` | zip files by size; expected unpacked as `<size>/{0_real,1_fake}` | its own |
| `communityforensics` | Parquet shards with `image_data`, `label`, `model_name` | all of the set |
| `corpus` | a manifest with a `test` split | all of the set |
"""

from __future__ import annotations

from dataclasses import dataclass

from dgsnet.core.errors import DatasetError


@dataclass(frozen=True)
class Count:
    """Number of images that were published: of each label, or together.

    Attributes:
        real: photographs.
        fake: generated images.
        total: both together.
        unit: the last printed digit's worth: 100 for ``12.0k``.
        source: where it is stated; one of the sources below, which say whether it was read for this table or is quoted from memory.
    """

    real: int | None = None
    fake: int | None = None
    total: int | None = None
    unit: int = 1
    source: str = ""

    def matches(self, n_real: int, n_fake: int) -> bool:
        """Return whether images found are as many, up to rounding."""
        pairs = ((self.real, n_real), (self.fake, n_fake), (self.total, n_real + n_fake))
        return all(expected is None or abs(found - expected) <= self.unit // 2 for expected, found in pairs)

    def __str__(self) -> str:
        about = "about " if self.unit > 1 else ""
        return f"{about}{self.total}" if self.total is not None else f"{about}{self.real} + {self.fake}"


@dataclass(frozen=True)
class Subset:
    """One row of a benchmark's table. `photographs` names the folder of shared photographs to take where it has none of its own."""

    name: str
    other_names: tuple[str, ...] = ()
    count: Count | None = None
    photographs: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark. Without `subsets` they are whatever the data names; `split` is the one that is tested where the data has splits."""

    name: str
    title: str
    paper: str
    subsets: tuple[Subset, ...] = ()
    split: str = "test"
    own_photographs: bool = True
    count: Count | None = None
    note: str = ""


def _subsets(*names: str) -> tuple[Subset, ...]:
    return tuple(Subset(name) for name in names)


_READ, _FROM_MEMORY = "read", "quoted from memory, not read again"
_FORENSYNTHS_PAPER = f"arXiv 1912.11035, table 1: {_FROM_MEMORY}"
_GENIMAGE_PAPER = f"arXiv 2306.08571: {_FROM_MEMORY}"
_UNIVERSALFAKEDETECT_README = f"README of WisconsinAIVision/UniversalFakeDetect: {_READ}"
_AIGIBENCH_README = f"README of HorizonTEL/AIGIBench, which corrects its paper: {_READ}"
_HIRES50K_CARD = f"data set card of HiRes-50K: {_FROM_MEMORY}"
_COMMUNITY_CARD = f"data set card of OwensLab/CommunityForensics-Eval: {_READ}"

# Images of both labels together, as printed. StyleGAN2 and WhichFaceIsReal joined later.
_FORENSYNTHS = {
    "progan": Count(total=8_000, unit=100, source=_FORENSYNTHS_PAPER),
    "stylegan": Count(total=12_000, unit=100, source=_FORENSYNTHS_PAPER),
    "biggan": Count(total=4_000, unit=100, source=_FORENSYNTHS_PAPER),
    "cyclegan": Count(total=2_600, unit=100, source=_FORENSYNTHS_PAPER),
    "stargan": Count(total=4_000, unit=100, source=_FORENSYNTHS_PAPER),
    "gaugan": Count(total=10_000, unit=100, source=_FORENSYNTHS_PAPER),
    "crn": Count(total=12_800, unit=100, source=_FORENSYNTHS_PAPER),
    "imle": Count(total=12_800, unit=100, source=_FORENSYNTHS_PAPER),
    "deepfake": Count(total=5_400, unit=100, source=_FORENSYNTHS_PAPER),
}
_THOUSAND_EACH = Count(real=1_000, fake=1_000, source=_UNIVERSALFAKEDETECT_README)

_UNIVERSALFAKEDETECT = Benchmark(
    "universalfakedetect",
    "UniversalFakeDetect",
    "Ojha et al., CVPR 2023, arXiv 2302.10174",
    (
        *(
            Subset(name, count=_FORENSYNTHS.get(name))
            for name in ("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan", "deepfake", "sitd", "san", "crn", "imle")
        ),
        Subset("guided", count=_THOUSAND_EACH, photographs="imagenet"),
        *(
            Subset(name, count=_THOUSAND_EACH, photographs="laion")
            for name in ("ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10", "dalle")
        ),
    ),
    note="The paper tests 10,000 images a diffusion setting; 1,000 of each label were released.",
)

_AIGCDETECTBENCHMARK = Benchmark(
    "aigcdetectbenchmark",
    "AIGCDetectBenchmark",
    "Zhong et al., arXiv 2311.12397",
    (
        *(Subset(name, count=_FORENSYNTHS[name]) for name in ("progan", "stylegan", "biggan", "cyclegan", "stargan", "gaugan")),
        *_subsets("stylegan2", "whichfaceisreal", "adm", "glide", "midjourney", "sd14", "sd15", "vqdm", "wukong", "dalle2"),
    ),
)

_AIGIBENCH = Benchmark(
    "aigibench",
    "AIGIBench",
    "Li et al., NeurIPS 2025, arXiv 2505.12335",
    (
        *_subsets("progan", "r3gan", "stylegan3", "stylegan_xl", "styleswim"),
        Subset("whichfaceisreal", count=Count(real=1_000, fake=1_000, source=_AIGIBENCH_README)),
        *_subsets("sd3", "sdxl", "dalle3", "flux1_dev", "imagen3", "glide"),
        Subset("midjourney", ("midjourney_v6",)),
        Subset("faceswap", count=Count(real=4_000, fake=4_000, source=_AIGIBENCH_README)),
        Subset("inswap", count=Count(real=4_000, fake=4_000, source=_AIGIBENCH_README)),
        *_subsets("simswap", "blendface", "e4s", "blip", "infinite_id", "instant_id", "ip_adapter", "photomaker"),
        Subset("community_ai", count=Count(real=6_000, fake=6_000, source=_AIGIBENCH_README)),
        Subset("social_rf", count=Count(real=3_000, fake=3_000, source=_AIGIBENCH_README)),
    ),
)

_GENIMAGE = Benchmark(
    "genimage",
    "GenImage",
    "Zhu et al., NeurIPS 2023, arXiv 2306.08571",
    tuple(
        Subset(name, count=Count(real=size, fake=size, source=_GENIMAGE_PAPER))
        for name, size in {
            "midjourney": 6_000,
            "sd14": 6_000,
            "sd15": 8_000,
            "adm": 6_000,
            "glide": 6_000,
            "wukong": 6_000,
            "vqdm": 6_000,
            "biggan": 6_000,
        }.items()
    ),
    split="val",
)

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one
    for one in (
        _UNIVERSALFAKEDETECT,
        _AIGCDETECTBENCHMARK,
        _AIGIBENCH,
        _GENIMAGE,
        Benchmark("chameleon", "Chameleon", "Yan et al., ICLR 2025, arXiv 2406.19435", _subsets("chameleon")),
        Benchmark(
            "hires50k",
            "HiRes-50K",
            "Mu et al., ICLR 2026, arXiv 2508.17346",
            count=Count(total=50_568, source=_HIRES50K_CARD),
            note="The folders inside the released zip files, and how the authors average over sizes, are not known to us.",
        ),
        Benchmark(
            "communityforensics",
            "Community Forensics",
            "Park and Owens, CVPR 2025, arXiv 2411.04125",
            own_photographs=False,
            count=Count(total=51_836, source=_COMMUNITY_CARD),
            note=(
                "21 generators, with photographs of RAISE, COCO, FFHQ and LAION; which of them the authors pair with which generator is "
                "not known to us: each generator is set against all of them."
            ),
        ),
        Benchmark("corpus", "a corpus of one's own", "", own_photographs=False),
    )
}
"""By the name the command line takes."""


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by name; case and punctuation do not matter.

    Raises:
        DatasetError: there is none of that name.
    """
    found = BENCHMARKS.get("".join(letter for letter in name.casefold() if letter.isalnum()))
    if found is None:
        raise DatasetError(f"unknown benchmark {name!r}: expected one of {', '.join(BENCHMARKS)}")
    return found
