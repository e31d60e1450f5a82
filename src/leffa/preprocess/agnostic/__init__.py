"""Cloth-agnostic masks from parsing, keypoints and DensePose: the field's recipes by name.

A recipe takes a `PersonMaps` and gives a mask (H, W), True = generate, at any resolution: sizes
that are published in pixels are scaled by the height, after padding to 3:4 in Leffa's. A missing
arm is omitted, missing hips are placed below the shoulders, and a missing map that a recipe needs
is a ValueError.

    recipe        garments     needs                  by
    viton_hd      upper        keypoints              VITON-HD
    hr_viton      upper        keypoints              HR-VITON: VITON-HD's `agnostic-v3.2` files
    ladi_vton     upper        keypoints              LaDI-VTON, for VITON-HD
    viton         upper        keypoints              ours, for the original VITON
    dress_code    all three    keypoints but lower    DressCode, and IDM-VTON on it
    ladi_dress_code  the same  the same               LaDI-VTON, for DressCode
    leffa_dc      all three    keypoints but lower    Leffa's demo, DressCode model
    leffa_dc_clean  the same   the same               ours: without the demo's flaws
    ootdiffusion  all three    keypoints but lower    OOTDiffusion, and IDM-VTON's demo
    ootdiffusion_dc  the same  the same               the same, for DressCode
    leffa_hd      all three    keypoints but lower    Leffa's demo, VITON-HD model
    leffa_hd_clean  the same   the same               ours: without the demo's flaws
    catvton       all three    DensePose              CatVTON
"""

from leffa.data.recipe import AgnosticRecipe
from leffa.preprocess.agnostic.automasker import catvton
from leffa.preprocess.agnostic.leffa_demo import leffa_dc, leffa_hd
from leffa.preprocess.agnostic.parsed import (
    dress_code,
    ladi_dress_code,
    leffa_dc_clean,
    leffa_hd_clean,
    ootdiffusion,
    ootdiffusion_dc,
)
from leffa.preprocess.agnostic.upper import hr_viton, ladi_vton, viton, viton_hd

AGNOSTIC: dict[str, AgnosticRecipe] = {
    "viton_hd": viton_hd,
    "hr_viton": hr_viton,
    "ladi_vton": ladi_vton,
    "viton": viton,
    "dress_code": dress_code,
    "ladi_dress_code": ladi_dress_code,
    "leffa_dc": leffa_dc,
    "leffa_dc_clean": leffa_dc_clean,
    "ootdiffusion": ootdiffusion,
    "ootdiffusion_dc": ootdiffusion_dc,
    "leffa_hd": leffa_hd,
    "leffa_hd_clean": leffa_hd_clean,
    "catvton": catvton,
}
