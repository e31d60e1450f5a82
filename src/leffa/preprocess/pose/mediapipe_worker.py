"""Runs MediaPipe for `mediapipe.MediaPipe`, maybe under another interpreter.

It imports nothing of this package. Messages on stdin and stdout are .npz files after their length
in eight bytes: a photo in, landmarks and silhouette or an error out.
"""

import io
import struct
import sys
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


def write(stream: IO[bytes], message: bytes) -> None:
    """Send a message."""
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def read(stream: IO[bytes]) -> bytes | None:
    """The next message; None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


def main() -> None:
    """Answer until stdin ends; the first answer says whether mediapipe works."""
    import numpy as np

    def answer(arrays: dict[str, Any]) -> None:
        message = io.BytesIO()
        np.savez(message, **arrays)
        write(sys.stdout.buffer, message.getvalue())

    try:
        from mediapipe.python.solutions.pose import Pose  # type: ignore[import-not-found,import-untyped,unused-ignore]

        network = Pose(static_image_mode=True, model_complexity=1, enable_segmentation=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
        answer({"error": np.array(f"{type(error).__name__}: {error}".splitlines()[0])})
        return
    answer({})
    while (message := read(sys.stdin.buffer)) is not None:
        with np.load(io.BytesIO(message), allow_pickle=False) as arrays:
            image = arrays["image"]
        try:
            found = network.process(image)
        except (RuntimeError, ValueError) as error:
            answer({"error": np.array(str(error).splitlines()[0])})
            continue
        if found.pose_landmarks is None or found.segmentation_mask is None:
            answer({})
            continue
        points = [(p.x, p.y, p.visibility) for p in found.pose_landmarks.landmark]
        answer(
            {
                "landmarks": np.array(points, np.float32),
                "silhouette": found.segmentation_mask.astype(np.float32),
            }
        )


if __name__ == "__main__":
    main()
