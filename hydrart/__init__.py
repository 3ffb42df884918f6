"""hydrart: one nested Vision Transformer, any number of heads, on a CPU."""

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
from hydrart.governor.profile import Profile
from hydrart.governor.sensors import Sensors
from hydrart.model import Model, Prediction, load
from hydrart.stream.stream import Result, Stream

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "Governor",
    "HeadsError",
    "HydrartError",
    "MissingExtraError",
    "Model",
    "PictureError",
    "Prediction",
    "Profile",
    "ProfileError",
    "Result",
    "Sensors",
    "SettingError",
    "SourceError",
    "Stream",
    "WeightFileError",
    "load",
]
