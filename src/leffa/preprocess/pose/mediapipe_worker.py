"""Runs MediaPipe for `mediapipe.MediaPipe`, maybe under another interpreter.

It imports nothing of this package. Messages on stdin and stdout are .npz files after their length
in eight bytes: a photo in, landmarks and silhouette or an error out.
"""

import io
import struct
import sys
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")


def write(stream: Any, **arrays: Any) -> None:
    """Send arrays by name."""
    message = io.BytesIO()
    np.savez(message, **arrays)
    stream.write(_LENGTH.pack(message.tell()) + message.getvalue())
    stream.flush()


def read(stream: Any) -> dict[str, Any] | None:
    """The next arrays; None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    if len(message) < length:
        return None
    with np.load(io.BytesIO(message), allow_pickle=False) as arrays:
        return dict(arrays)


def main() -> None:
    """Answer until stdin ends; the first answer says whether mediapipe works."""
    out = sys.stdout.buffer
    try:
        from mediapipe.python.solutions.pose import Pose  # type: ignore[import-not-found,import-untyped,unused-ignore]

        network = Pose(static_image_mode=True, model_complexity=1, enable_segmentation=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is told
        write(out, error=f"{type(error).__name__}: {error}".splitlines()[0])
        return
    write(out)
    while (message := read(sys.stdin.buffer)) is not None:
        try:
            found = network.process(message["image"])
        except (RuntimeError, ValueError) as error:
            write(out, error=str(error).splitlines()[0])
            continue
        if found.pose_landmarks is None or found.segmentation_mask is None:
            write(out)
            continue
        points = [(p.x, p.y, p.visibility) for p in found.pose_landmarks.landmark]
        write(
            out,
            landmarks=np.array(points, np.float32),
            silhouette=found.segmentation_mask.astype(np.float32),
        )


if __name__ == "__main__":
    main()
