"""What models read besides a photograph: parsing, keypoints, DensePose and agnostic masks."""
