"""One name for each generator and category, whatever a benchmark's archive, log or paper calls it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_GENIMAGE_FOLDER = re.compile(r"^imagenet(ai\d{4})?(?=[a-z])")  # GenImage unpacks `ADM` into `imagenet_ai_0508_adm`

GENERATORS: Mapping[str, tuple[str, ...]] = {
    "adm": ("adm_g", "ablated_diffusion_model"),
    "biggan": (),
    "blendface": (),
    "blip": ("blip_diffusion",),
    "community_ai": ("communityai",),
    "crn": ("cascaded_refinement_networks",),
    "cyclegan": (),
    "dalle": ("dall_e", "dalle_mini"),
    "dalle2": ("dall_e_2", "dalle_2"),
    "dalle3": ("dall_e_3", "dalle_3"),
    "deepfake": ("deepfakes",),
    "e4s": (),
    "faceswap": (),
    "flux1_dev": ("flux", "flux_dev", "flux_1_dev"),
    "gaugan": ("spade",),
    "glide": (),
    "glide_100_10": ("glide_100ddpm_10ddim",),
    "glide_100_27": ("glide_100ddpm_27ddim",),
    "glide_50_27": ("glide_50ddpm_27ddim",),
    "guided": ("guided_diffusion", "guided_imagenet_ddim25_cg1"),
    "imagen3": ("imagen_3",),
    "imle": (),
    "infinite_id": (),
    "inswap": ("imswap", "inswapper"),
    "instant_id": ("instantid",),
    "ip_adapter": (),
    "ldm_100": ("ldm_100step", "ldm_100_steps"),
    "ldm_200": ("ldm_200step", "ldm_200_steps"),
    "ldm_200_cfg": ("ldm_200step_cfg3", "ldm_200_cfg3"),
    "midjourney": ("mj",),
    "midjourney_v6": ("mj_v6", "mjv6"),
    "photomaker": (),
    "progan": ("pggan",),
    "r3gan": (),
    "san": ("second_order_attention_network",),
    "sd14": ("stable_diffusion_v_1_4", "stable_diffusion_1_4", "sd_v1_4", "sdv4"),
    "sd15": ("stable_diffusion_v_1_5", "stable_diffusion_1_5", "sd_v1_5", "sdv5"),
    "sd3": ("stable_diffusion_3", "sd_v3"),
    "sdxl": ("sd_xl", "stable_diffusion_xl"),
    "simswap": (),
    "sitd": ("seeingdark", "seeing_in_the_dark", "sid"),
    "social_rf": ("socialrf",),
    "stargan": (),
    "stylegan": ("stylegan1",),
    "stylegan2": (),
    "stylegan3": (),
    "stylegan_xl": (),
    "styleswim": ("styleswin",),
    "vqdm": ("vq_diffusion", "vqdiffusion"),
    "whichfaceisreal": ("wfir", "which_face_is_real"),
    "wukong": (),
}
"""Canonical name to other spellings. Case and punctuation never matter, so variants in these alone are not listed."""

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "airplane": ("aeroplane",),
    "dining_table": (),
    "motorbike": ("motorcycle",),
    "potted_plant": (),
    "sofa": ("couch",),
    "tv_monitor": ("tv",),
}
"""Categories of ForenSynths that are spelt in more than one way; others keep their own name."""


def key(name: str) -> str:
    """Return what is compared: letters and digits of a name in lower case, without the prefix of GenImage's folders."""
    return _GENIMAGE_FOLDER.sub("", "".join(letter for letter in name.casefold() if letter.isalnum()))


def slug(name: str) -> str:
    """Return a name in lower case with single underscores for all that is neither letter nor digit; ``unknown`` where nothing is left."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_") or "unknown"


def _by_key(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {key(spelling): name for name, others in table.items() for spelling in (name, *others)}


_GENERATOR_BY_KEY, _CATEGORY_BY_KEY = _by_key(GENERATORS), _by_key(CATEGORIES)


def generator(name: str) -> str:
    """Return the canonical name of a generator; of one not in `GENERATORS`, its slug."""
    return _GENERATOR_BY_KEY.get(key(name)) or slug(name)


def category(name: str) -> str:
    """Return the canonical name of a category; of one not in `CATEGORIES`, its slug."""
    return _CATEGORY_BY_KEY.get(key(name)) or slug(name)
