"""hydrart: one nested Vision Transformer, any number of heads, on a CPU."""

from hydrart.device.sensors import Sensors
from hydrart.errors import (
    HeadsError,
    HydrartError,
    MissingExtraError,
    PictureError,
    ProfileError,
    SettingError,
    SourceError,
    WeightFileError,
)
from hydrart.governor.governor import Decision, Governor
from hydrart.governor.points import Profile
from hydrart.model import Model, load
from hydrart.prediction import Prediction
from hydrart.source.opener import Opener
from hydrart.source.shot import Shot
from hydrart.stream.events import Event
from hydrart.stream.result import Result
from hydrart.stream.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Event",
    "Governor",
    "HeadsError",
    "HydrartError",
    "MissingExtraError",
    "Model",
    "Opener",
    "PictureError",
    "Prediction",
    "Profile",
    "ProfileError",
    "Result",
    "Sensors",
    "SettingError",
    "Shot",
    "SourceError",
    "Stream",
    "WeightFileError",
    "load",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
