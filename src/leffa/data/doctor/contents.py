"""What files can hold, and the look that checks each. Runs in worker processes, without torch."""

import hashlib
from pathlib import Path

from leffa.data.doctor import look_maps, look_pictures
from leffa.data.doctor.look import Inspector, Look

CONTENTS: dict[str, Inspector] = {
    "photo": look_pictures.photo,
    "agnostic": look_pictures.agnostic,
    "drawing": look_pictures.drawing,
    "mask": look_pictures.agnostic_mask,
    "garment_mask": look_pictures.garment_mask,
    "silhouette": look_pictures.silhouette,
    "parse_20": look_maps.parse(19),  # CIHP and LIP
    "parse_any": look_maps.parse(255),
    "parse_18": look_maps.parse(18),  # ATR; 18 is the neck of OOTDiffusion's parsing
    "colour": look_maps.colour,
    "iuv": look_maps.iuv(channel=0),
    "vui": look_maps.iuv(channel=2),
    "part_labels": look_maps.part_labels,
    "surface": look_maps.arrays(uv=(2, None, None)),
    "pose": look_maps.pose,
    "flow": look_maps.arrays(flow=(None, None, 2), valid=(None, None)),
}


def look_at(task: tuple[Path, str]) -> Look:
    """Open a file in full and check its content, a key of `CONTENTS`."""
    path, content = task
    look = Look()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        look.add("link-broken" if path.is_symlink() else "file-missing")
        return look
    except OSError as error:
        look.add("unreadable", error.strerror or str(error))
        return look
    if not data:
        look.add("empty-file")
    elif data.startswith(b"version https://git-lfs"):
        look.add("git-lfs")
    else:
        look.digest = hashlib.blake2b(data, digest_size=8).digest()
        CONTENTS[content](path, data, look)
    return look
