"""Short videos, encoded for a test."""

import io

import av
import numpy as np

CONTAINERS = {
    "mp4": "libx264", "mov": "mpeg4", "webm": "libvpx", "matroska": "libx264", "avi": "mpeg4", "mpegts": "mpeg2video",
    "gif": "gif",
}  # fmt: skip


def clip(frames=40, size=(64, 48), container="mp4", rate=25, turned=0, codec=None):
    """The bytes of a video whose frames differ."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as made:
        stream = made.add_stream(codec or CONTAINERS[container], rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if container == "gif" else "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[..., 0] = number * 6 % 256
            picture[: size[1] // 2, :, 1] = np.arange(size[0]) * 255 // size[0]
            picture[:, number % size[0], 2] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                made.mux(packet)
        for packet in stream.encode():
            made.mux(packet)
    return file.getvalue()
