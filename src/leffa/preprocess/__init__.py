"""The maps that models need besides a photograph: parsing, keypoints, DensePose, masks."""
