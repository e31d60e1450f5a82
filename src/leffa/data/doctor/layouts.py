"""The data sets, declared."""

from dataclasses import replace

from leffa.data.counts import OFFICIAL
from leffa.data.doctor.declare import SPLITS, TREE, DataSet, Files, Group, Listing, Split


def _viton_hd() -> DataSet:
    files = (
        Files("image", "{}.jpg", "photo", need="always", main=True),
        Files("cloth", "{}.jpg", "photo", "garment", need="always", main=True),
        Files("cloth-mask", "{}.jpg", "garment_mask", "garment", need="loose"),
        Files("agnostic-mask", "{}_mask.png", "mask"),
        Files("agnostic-v3.2", "{}.jpg", "agnostic", need="loose"),
        Files("image-densepose", "{}.jpg", "colour"),
        Files("image-iuv", "{}.png", "iuv", drawn=True),
        Files(("image-parse-v3", "image-parse"), "{}.png", "parse_20"),
        Files("image-parse-agnostic-v3.2", "{}.png", "parse_20", need="loose"),
        Files(("openpose_json", "openpose-json"), "{}_keypoints.json", "pose"),
        Files(("openpose_img", "openpose-img"), "{}_rendered.png", "drawing", need="loose"),
        Files("flow", "{}.npz", "flow", drawn=True),
    )
    # The train list's second column is shuffled and no trainer reads it.
    return DataSet(
        "VITON-HD",
        "https://github.com/shadow2496/VITON-HD",
        r"\d{5}_00",
        (
            Group(
                "train",
                "train",
                files,
                (
                    Listing(
                        ("train_pairs.txt",),
                        "train",
                        ("person", "ignored"),
                        OFFICIAL["VITON-HD train"],
                    ),
                ),
            ),
            Group(
                "test",
                "test",
                files,
                (
                    Listing(
                        ("test_pairs.txt",),
                        "test",
                        official=OFFICIAL["VITON-HD test"],
                        pairing="other",
                    ),
                ),
            ),
        ),
        size=(768, 1024),
        disjoint=False,  # whether the official splits share numbers is not documented
    )


def _viton() -> DataSet:
    files = (
        Files("image", "{}_0.jpg", "photo", need="always", main=True),
        Files("cloth", "{}_1.jpg", "photo", "garment", need="always", main=True),
        Files("cloth-mask", "{}_1.jpg", "garment_mask", "garment", need="always"),
        Files("image-parse", "{}_0.png", "parse_20", need="always"),
        Files("pose", "{}_0_keypoints.json", "pose", need="always"),
        Files("flow", "{}_0.npz", "flow", drawn=True),
    )
    lists = (
        Listing(("train_pairs.txt",), "train", official=OFFICIAL["VITON train"], pairing="own"),
        Listing(("test_pairs.txt",), "test", official=OFFICIAL["VITON test"], pairing="other"),
    )
    return DataSet(
        "VITON",
        "https://github.com/xthan/VITON",
        r"\d{6}",
        tuple(Group(listing.split, listing.split, files, (listing,)) for listing in lists),
        size=(192, 256),
    )


def _dress_code() -> DataSet:
    files = (
        Files("images", "{}_0.jpg", "photo", need="always", main=True),
        Files("images", "{}_1.jpg", "photo", "garment", need="always", main=True),
        Files("keypoints", "{}_2.json", "pose"),
        Files("label_maps", "{}_4.png", "parse_18"),
        Files("skeletons", "{}_5.jpg", "drawing", need="loose"),
        Files("dense", "{}_5.png", "part_labels"),
        Files("dense", "{}_5_uv.npz", "surface", need="loose"),
        Files("image-densepose", "{}_0.jpg", "colour"),
        Files("agnostic_masks", "{}_0.png", "mask", need="loose"),  # published for tests only
        Files("masks", "{}_1.png", "garment_mask", "garment", need="loose"),
        Files("flow", "{}_0.npz", "flow", drawn=True),
    )
    groups = []
    for category in ("upper_body", "lower_body", "dresses"):
        train, test = (OFFICIAL[f"DressCode {category} {split}"] for split in ("train", "test"))
        lists = (
            Listing((f"{category}/train_pairs.txt",), "train", official=train, pairing="own"),
            Listing((f"{category}/test_pairs_paired.txt",), "test", official=test, pairing="own"),
            Listing(
                (f"{category}/test_pairs_unpaired.txt",), "test", official=test, pairing="other"
            ),
        )
        groups.append(Group(category, category, files, lists))
    return DataSet(
        "DressCode",
        "https://github.com/aimagelab/dress-code",
        r"\d{6}",
        tuple(groups),
        size=(768, 1024),
        totals=("train_pairs.txt", "test_pairs_paired.txt", "test_pairs_unpaired.txt"),
    )


def _pose_lists(split: Split, words: tuple[str, ...], pairs: int) -> list[Listing]:
    """PATN's lists: pairs and keypoints, each under every spelling in use."""
    return [
        Listing(
            tuple(f"{word}-pairs-{split}.csv" for word in words),
            split,
            ("picture", "picture"),
            pairs,
            "csv",
            unique="row",
        ),
        Listing(
            tuple(f"{word}-annotation-{split}.csv" for word in words),
            split,
            ("picture",),
            form="annotation",
            needed=False,
        ),
    ]


def _deepfashion() -> DataSet:
    words = ("fasion-resize", "fashion-resize", "fasion", "fashion")
    groups = []
    for split in SPLITS:
        pairs, pictures = (
            OFFICIAL[f"DeepFashion {split}"],
            OFFICIAL[f"DeepFashion {split} pictures"],
        )
        files = (
            Files(
                (f"{split}_highres", split, f"img/{TREE}", f"img_highres/{TREE}", TREE),
                "{}.jpg",
                "photo",
                "picture",
                "always",
                main=True,
            ),
            Files("densepose", "{}.png", "iuv", "picture"),
            Files("flow", "{}.npz", "flow", "pair", drawn=True),
        )
        lists = _pose_lists(split, words, pairs)
        names = Listing((f"{split}.lst",), split, ("picture",), pictures, "names", needed=False)
        groups.append(Group(split, "", files, (*lists, names, _nted_list(split, lists[0]))))
    return DataSet(
        "DeepFashion In-shop (pose transfer)",
        "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        r"fashion(WOMEN|MEN).+id\d{8}\d\d_\w+",
        tuple(groups),
        size=(750, 1101),
        same_size=False,
        beside=("MEN", "WOMEN", "img", "img_highres", "keypoints", "pose", "256x176", "512x352"),
    )


def _nted_list(split: Split, stands_for: Listing) -> Listing:
    """NTED's and PIDM's list; how many references it has for training is not published."""
    return replace(
        stands_for,
        names=(f"{split}_pairs.txt",),
        official=stands_for.official if split == "test" else None,
        form="release",
        needed=False,
        instead=stands_for.names[0],
    )


def _market1501() -> DataSet:
    groups = []
    for split in SPLITS:
        pairs = OFFICIAL[f"Market-1501 {split}"]
        folders = (split, f"bounding_box_{split}")
        files = (
            Files(folders, "{}.jpg", "photo", "picture", "always", main=True),
            Files("densepose", "{}.png", "iuv", "picture"),
            Files("flow", "{}.npz", "flow", "pair", drawn=True),
        )
        groups.append(Group(split, "", files, tuple(_pose_lists(split, ("market",), pairs))))
    return DataSet(
        "Market-1501 (pose transfer)",
        "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
        r"-?\d+_c\ds\d_\d{6}_\d\d",
        tuple(groups),
        size=(64, 128),
        beside=("keypoints",),
    )


def _wpose() -> DataSet:
    files = (
        Files("images", "{}.png", "photo", "picture", need="always", main=True),
        Files("densepose", "{}.png", "vui", "picture"),
        Files(("parsing", "gt_parsing"), "{}.png", "parse_any", "picture"),
        Files("flow", "{}.npz", "flow", "pair", drawn=True),
    )
    listing = Listing(
        ("test_pairs.txt",),
        "test",
        ("picture", "picture"),
        OFFICIAL["WPose test"],
        "commas",
        unique="row",
    )
    return DataSet(
        "WPose",
        "https://github.com/zyang-ur/UniHuman",
        r"\d+",
        (Group("test", "", files, (listing,)),),
        same_size=False,
        beside=("keypoints",),
    )


def _pose_with_style() -> DataSet:
    files = (
        Files("", "{}_iuv.png", "iuv", "picture"),
        Files("", "{}_sil.png", "silhouette", "picture", "loose"),
        Files("", "{}.png", "photo", "picture", "always", main=True),
    )
    return DataSet(
        "DeepFashion pictures with IUV, as in pose-with-style",
        "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        r"fashion(WOMEN|MEN).+id\d{8}\d\d_\w+",
        (Group("pictures", "", files, ()),),
        size=(348, 512),
    )


DATASETS: dict[str, DataSet] = {
    "viton_hd": _viton_hd(),
    "viton": _viton(),
    "dress_code": _dress_code(),
    "deepfashion": _deepfashion(),
    "market1501": _market1501(),
    "wpose": _wpose(),
    "deepfashion_iuv": _pose_with_style(),
}
