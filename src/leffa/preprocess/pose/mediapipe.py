"""MediaPipe's pose as a `PoseEstimator`: its models come in its package, so no weights are needed.

The package (0.10.14, the last with the models inside) needs an older protobuf than ours allows, so
it runs in a process and, where need be, in an environment of its own:

    python3 -m venv .mediapipe
    .mediapipe/bin/pip install mediapipe==0.10.14
"""

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.keypoints import BODY_25
from leffa.preprocess.pose import NOBODY, mediapipe_worker

# The MediaPipe landmark of each BODY_25 joint; neck and mid-hip lie between two others, and it has
# no small toe.
_LANDMARKS = {
    **{0: 0, 2: 12, 3: 14, 4: 16, 5: 11, 6: 13, 7: 15, 9: 24, 10: 26, 11: 28, 12: 23, 13: 25},
    **{14: 27, 15: 5, 16: 2, 17: 8, 18: 7, 19: 31, 21: 29, 22: 32, 24: 30},
}
_BETWEEN = {1: (2, 5), 8: (9, 12)}
_LEAST_VISIBLE = 0.5


class MediaPipe(contextlib.AbstractContextManager["MediaPipe"]):
    """MediaPipe in a process of its own, which is started once and ends with this object.

    Args:
        python: the interpreter of the environment that has mediapipe, a path or a name on PATH;
            None for this one.

    Raises:
        FileNotFoundError: no such interpreter.
        ValueError: it has no working mediapipe.
    """

    def __init__(self, python: str | Path | None = None) -> None:
        found = shutil.which(python or sys.executable)
        if found is None:
            raise FileNotFoundError(
                f"{python}: no such interpreter, also not on PATH; give that of the environment "
                "that has mediapipe"
            )
        self.python = Path(found)
        self._start()

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """The joints; hidden ones and those out of the picture count as not found."""
        return self.find_pose_and_silhouette(image)[0]

    def find_pose_and_silhouette(
        self, image: Image.Image
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(25, 3) joints, and (H, W) how surely a pixel is of the person, 0 to 1.

        Raises:
            ValueError: there is nobody, or mediapipe stopped; the next photo starts it again.
        """
        if self._process.poll() is not None:
            self.close()  # its pipes
            self._start()
        with contextlib.suppress(BrokenPipeError):  # that it stopped, the answer tells
            mediapipe_worker.write(self._process.stdin, image=np.asarray(image.convert("RGB")))
        answer = self._receive()
        if "error" in answer:
            raise ValueError(f"mediapipe: {answer['error']}")
        if "landmarks" not in answer:
            raise ValueError(NOBODY)
        return to_joints(answer["landmarks"], image.size), answer["silhouette"]

    def _start(self) -> None:
        self._process = subprocess.Popen(
            # -I: or the worker would take this module for the package of the same name.
            [self.python, "-I", mediapipe_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a page of its own log for every start
        )
        answer = self._receive()
        if "error" in answer:
            self.close()
            raise ValueError(
                f"{self.python}: cannot run mediapipe ({answer['error']}); make an environment for "
                "it: python3 -m venv .mediapipe && .mediapipe/bin/pip install mediapipe==0.10.14"
            )

    def _receive(self) -> dict[str, Any]:
        answer = mediapipe_worker.read(self._process.stdout)
        if answer is None:
            self.close()
            raise ValueError(f"{self.python}: mediapipe stopped; try a smaller photo")
        return answer

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    def __exit__(self, *_: object) -> None:
        self.close()


def to_joints(landmarks: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """MediaPipe's landmarks as BODY_25 (25, 3); one that is hidden or out of the picture is 0.

    Args:
        landmarks: (33, 3) x and y as fractions of the picture, visibility.
        size: (width, height) of the picture.
    """
    joints = np.zeros((BODY_25, 3), np.float32)
    joints[list(_LANDMARKS)] = landmarks[list(_LANDMARKS.values())]
    inside = (joints[:, :2] >= 0).all(axis=1) & (joints[:, :2] < 1).all(axis=1)
    joints[~inside | (joints[:, 2] < _LEAST_VISIBLE)] = 0
    joints[:, :2] *= size
    for joint, ends in _BETWEEN.items():
        if (joints[list(ends), 2] > 0).all():
            joints[joint] = joints[list(ends)].mean(axis=0)
            joints[joint, 2] = joints[list(ends), 2].min()
    return joints
