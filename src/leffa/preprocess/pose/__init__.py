"""Body keypoints from a photo.

Back ends: OpenPose's body network from its published weights (`openpose`), and the exact joints of
synthetic persons (`preprocess.synthetic_labels`).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NOBODY = "no person was found; use a photo that shows one person, from head to hip at least"


class PoseEstimator(Protocol):
    """Finds the joints of the largest person."""

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """(25, 3) BODY_25 (`data.keypoints`): x and y in pixels of the photo, confidence from 0 to
        1; (0, 0, 0) for a joint that was not found. Raises ValueError where nobody was."""
