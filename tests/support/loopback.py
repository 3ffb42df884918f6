"""Write a grey camera's pictures to v4l2loopback. This program runs inside the virtual machine, without an end.

The pictures have eight bars from dark to bright, in 8, 10, 12 or 16 bits. The bits below the upper eight are noise. The
top left corner is noise, too, because a camera that repeats one picture counts as frozen.
"""

import fcntl
import os
import struct
import time

import numpy as np

LEVELS = (0, 20, 60, 100, 140, 180, 220, 255)  # grey levels of the bars, from left to right
# device number -> pixel format, bits of the sensor, width, height
CAMERAS = {
    10: ("GREY", 8, 160, 120),
    11: ("Y16 ", 16, 160, 120),
    12: ("Y16 ", 12, 160, 120),  # Y16 states the bits in memory, not those of the sensor
    13: ("Y12 ", 12, 160, 120),
    14: ("Y10 ", 10, 160, 120),
    15: ("GREY", 8, 161, 121),
    16: ("Y16 ", 14, 161, 121),
}
NUMBERS = ",".join(map(str, CAMERAS))
LOAD = f"modprobe v4l2loopback video_nr={NUMBERS} exclusive_caps={','.join('1' * len(CAMERAS))} devices={len(CAMERAS)}"
_S_FMT, _OUTPUT, _NO_FIELDS = 0xC0D05605, 2, 1  # linux/videodev2.h
_FPS = 4


def frame(bits: int, width: int, height: int, rng: np.random.Generator) -> bytes:
    """Return the bars as the sensor's values."""
    bars = np.repeat(np.array(LEVELS, np.uint16), -(-width // len(LEVELS)))[:width]
    noise = rng.integers(0, 1 << (bits - 8), (height, width), np.uint16)
    picture = (bars << (bits - 8)) + noise
    picture[0, :8] = rng.integers(0, 1 << bits, 8, np.uint16)
    return bytes(picture.astype("u1" if bits == 8 else "<u2"))


def main() -> None:
    """Feed every camera."""
    rng = np.random.default_rng(0)
    devices = {}
    for number, (pixels, bits, width, height) in CAMERAS.items():
        handle = os.open(f"/dev/video{number}", os.O_RDWR)
        size = (1 if bits == 8 else 2) * width
        form = struct.pack("=II4s4I", width, height, pixels.encode(), _NO_FIELDS, size, size * height, 8)
        fcntl.ioctl(handle, _S_FMT, bytearray(struct.pack("=I4x", _OUTPUT) + form.ljust(200, b"\0")))
        devices[handle] = (bits, width, height)
    while True:
        for handle, (bits, width, height) in devices.items():
            os.write(handle, frame(bits, width, height, rng))
        print("written", flush=True)
        time.sleep(1 / _FPS)


if __name__ == "__main__":
    main()
