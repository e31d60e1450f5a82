"""What files can hold, and the look that checks each. Runs in worker processes, without torch."""

import hashlib
from pathlib import Path

from leffa.data.doctor import validate_maps, validate_pictures
from leffa.data.doctor.look import Inspector, Look

CONTENTS: dict[str, Inspector] = {
    "photo": validate_pictures.photo,
    "agnostic": validate_pictures.agnostic,
    "drawing": validate_pictures.drawing,
    "mask": validate_pictures.agnostic_mask,
    "garment_mask": validate_pictures.garment_mask,
    "silhouette": validate_pictures.silhouette,
    "parse_20": validate_maps.parse(19),  # CIHP and LIP
    "parse_any": validate_maps.parse(255),
    "parse_18": validate_maps.parse(18),  # ATR; 18 is the neck of OOTDiffusion's parsing
    "colour": validate_maps.colour,
    "iuv": validate_maps.iuv(channel=0),
    "vui": validate_maps.iuv(channel=2),
    "labels": validate_maps.part_labels,
    "surface": validate_maps.arrays(uv=(2, None, None)),
    "pose": validate_maps.pose,
    "flow": validate_maps.arrays(flow=(None, None, 2), valid=(None, None)),
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
