"""Every kind of damage that the doctor knows: what it says, and the remedy."""

from typing import NamedTuple


class Kind(NamedTuple):
    """What is wrong, in words that follow a folder's name, and what to do about it."""

    says: str
    remedy: str = ""
    harmless: bool = False


TRAINED_ALL_THE_SAME = ("format-differs", "few-colours")
PREDICTED_ALL_THE_SAME = ("format-differs", "exif-rotated")

KINDS: dict[str, Kind] = {
    # The folder as a whole.
    "nested": Kind("the data set lies one folder deeper", "give that folder"),
    "folder-missing": Kind("there is no such folder", "extract the archive again"),
    "folder-misnamed": Kind("no such folder, but one of nearly that name", "rename it"),
    "folders-swapped": Kind(
        "persons lie in the garments' folder and garments in the persons'", "swap the two folders"
    ),
    # Lists.
    "list-missing": Kind("there is no such list", "copy it from the data set's archive"),
    "list-empty": Kind("lists nothing", "copy it again from the data set's archive"),
    "list-encoding": Kind("cannot be read as text", "save it as UTF-8"),
    "list-columns": Kind("lines with another number of columns", "correct these lines"),
    "list-duplicate": Kind("lines that repeat an earlier one", "remove the repeated lines"),
    "list-absent": Kind(
        "names files that are not there", "add the files or remove the lines that name them"
    ),
    "list-pairing": Kind(
        "pairs persons with the wrong garments for this list",
        "the paired and the unpaired list are mixed up: copy both again",
    ),
    "list-longer": Kind(
        "has more lines than the official list", "use the official list, or another data set name"
    ),
    "list-keypoints": Kind(
        "rows whose keypoints are not two lists of 18 numbers", "copy the list again"
    ),
    "lists-disagree": Kind(
        "has other pairs than the lists it should agree with", "copy all lists from one release"
    ),
    "overlap": Kind("are in the training and in the test list", "remove them from one of the two"),
    # Names.
    "file-missing": Kind("listed files are missing", "extract the archive again"),
    "case-differs": Kind(
        "names that differ from the list in upper and lower case", "rename the files as listed"
    ),
    "suffix-differs": Kind(
        "are there with another suffix", "convert them; renaming alone does not"
    ),
    "elsewhere": Kind("are missing here but lie in another folder", "move them"),
    "link-broken": Kind("links that lead nowhere", "copy the files that they point to"),
    # Any file.
    "empty-file": Kind("files of zero bytes", "replace them with good copies"),
    "git-lfs": Kind("are Git LFS pointers, not the files", "run `git lfs pull` where they are"),
    "unreadable": Kind("cannot be decoded", "replace them with good copies"),
    "format-differs": Kind(
        "hold another format than their suffix says", "convert them; renaming alone does not"
    ),
    # Pictures.
    "exif-rotated": Kind(
        "are stored turned (EXIF), which training refuses", "save them upright, without the tag"
    ),
    "colour-mode": Kind(
        "are not plain 8-bit pictures of the expected kind", "convert them to 8-bit RGB or grey"
    ),
    "transparent": Kind(
        "are transparent in places, which training and prediction refuse",
        "save them on a white background",
    ),
    "few-colours": Kind(
        "have so few colours that they are masks or label maps, not photographs",
        "use the photographs; leffa predict refuses these",
    ),
    "blank": Kind("are of a single colour", "replace them with good copies"),
    "size-mismatch": Kind(
        "differ in size from the photograph they belong to", "use files of one release"
    ),
    "size-odd": Kind("differ in size from the others in the folder", "use files of one release"),
    "garment-as-person": Kind("look like garments among persons", "put the persons' photographs"),
    "person-as-garment": Kind(
        "are photographs of persons among garments", "put the garments' photographs"
    ),
    "mismatch": Kind("show another person than the photograph", "use the files of that person"),
    # Masks.
    "mask-grey": Kind(
        "are grey, not black and white",
        "use the mask files; agnostic pictures in their place ruin the training",
    ),
    "mask-empty": Kind("are black all over", "make the masks again"),
    "mask-full": Kind("are white all over", "make the masks again"),
    "mask-inverted": Kind(
        "are white around and black inside", "invert them: white is what the mask means"
    ),
    # Body maps.
    "densepose-black": Kind("are black: no person was found", "run DensePose again on these"),
    "densepose-encoding": Kind(
        "are not encoded as this folder should be", "use the files of the data set's release"
    ),
    "parse-labels": Kind("hold labels out of range", "use the label maps of the data set"),
    "parse-empty": Kind("hold background only", "parse these pictures again"),
    # Poses and arrays.
    "pose-unreadable": Kind("are not JSON with keypoints", "use the data set's pose files"),
    "pose-nobody": Kind("hold no person", "run the pose network again, or take these off the list"),
    "pose-outside": Kind(
        "have joints outside the picture, so they were found in one of another size",
        "use the pose files of these pictures, at their size",
    ),
    "pose-elsewhere": Kind(
        "have their joints beside the person of the photograph",
        "use the pose files of these pictures, at their size",
    ),
    "array-unreadable": Kind("are not whole .npz archives", "extract the archive again"),
    "array-content": Kind("lack the arrays that they should hold", "use the data set's files"),
    # Worth knowing.
    "split-absent": Kind("is not here", harmless=True),
    "files-only": Kind(
        "has no pair list and not all that is paired: files to look at, not to train on",
        harmless=True,
    ),
    "optional-absent": Kind("is not here; only some settings read it", harmless=True),
    "partly": Kind("has files for some samples only", harmless=True),
    "list-bom": Kind("is not plain UTF-8, and is read all the same", harmless=True),
    "list-spaces": Kind("has blank lines or stray blanks, which are skipped", harmless=True),
    "extra-file": Kind("are in no list and are ignored", harmless=True),
    "extra-folder": Kind("is not part of the data set and is ignored", harmless=True),
    "left-out": Kind(
        "are of kinds that are not read, and left out; save pictures as .jpg or .png",
        harmless=True,
    ),
    "hidden-file": Kind("are hidden or made by an operating system; delete them", harmless=True),
    "colour-profile": Kind(
        "have a colour profile other than sRGB, which data sets are read without, as in published "
        "code",
        harmless=True,
    ),
    "size-unofficial": Kind("is not the official size", harmless=True),
    "same-picture": Kind("hold the same picture as another file", harmless=True),
    "train-in-test": Kind("hold a picture that is in the training set too", harmless=True),
    "pose-fractions": Kind("hold fractions of the picture instead of pixels", harmless=True),
    "pose-several": Kind(
        "hold several persons: the largest on the parsing is read, or the largest", harmless=True
    ),
    "suspect": Kind("do not look like the others here; look at them", harmless=True),
    "unknown-layout": Kind(
        "is no layout the doctor knows; its pictures were opened", harmless=True
    ),
}

WITHOUT = {  # what training and evaluation must be told where files of this content are absent
    "mask": "without them: a recipe as transform.agnostic",
    **dict.fromkeys(
        ("colour", "labels", "iuv", "vui"),
        "without them: transform.densepose=skeleton or none",
    ),
    "pose": "without them: mask files or a recipe that needs no joints, and no densepose=skeleton",
    **dict.fromkeys(
        ("parse_20", "parse_18"), "without them: mask files, and no loss_region=garment"
    ),
}
