"""What can go wrong, as one tree. Every message is one sentence that says what, where and what to do.

HydrartError
 |- WeightFileError     a weight file is missing, damaged or of another version
 |- PictureError        a picture cannot be read, or is unfit for the network
 |- HeadsError          a number of heads that was not trained (also a ValueError)
 |- SettingError        an unknown backend, precision, thread count or goal (also a ValueError)
 |- SourceError         a camera, video or folder gives no frames
 |- ProfileError        a device profile is missing or malformed
 `- MissingExtraError   an optional dependency is not installed
"""


class HydrartError(Exception):
    """Base of every error that hydrart raises on purpose."""


class WeightFileError(HydrartError):
    """A weight file is missing, damaged or of another version."""


class PictureError(HydrartError):
    """A picture cannot be read, or is unfit for the network."""


class HeadsError(HydrartError, ValueError):
    """A number of heads that the network was not trained for."""


class SettingError(HydrartError, ValueError):
    """An unknown backend, precision, thread count or goal."""


class SourceError(HydrartError):
    """A camera, video or folder gives no frames."""


class ProfileError(HydrartError):
    """A device profile is missing or malformed."""


class MissingExtraError(HydrartError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs {package}: install it with: pip install 'hydrart[{extra}]'")
