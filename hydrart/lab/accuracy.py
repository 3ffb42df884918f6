"""How accurate the networks are whose frames are simulated."""

from pathlib import Path

from hydrart.device.profiles import by_k, load_yaml
from hydrart.errors import HydrartError, ProfileError, WeightFileError
from hydrart.format.reader import WeightFile
from hydrart.resources import DEFAULT_WEIGHTS, find


def logged_accuracy(weights: str | None) -> dict[int, float] | None:
    """k -> top-1, 0 to 1, as the weight file of a logged run has it; None where it is gone or has none."""
    try:
        accuracy = WeightFile(Path(weights)).meta.accuracy if weights is not None else None
    except (HydrartError, OSError, ValueError):
        return None
    return None if accuracy is None else dict(accuracy.top1)


def model_accuracy(name: str | None) -> dict[int, float]:
    """k -> top-1, 0 to 1, of a YAML file or a name that ships; None: of the model that ships. Raises ProfileError."""
    if name is None:
        weights = find(DEFAULT_WEIGHTS, "weights", ".safetensors", WeightFileError)
        accuracy = WeightFile(weights).meta.accuracy
        if accuracy is None:
            raise ProfileError(f"{weights} holds no accuracy: give one with --accuracy")
        return dict(accuracy.top1)
    path = find(name, "devices/accuracy", ".yaml", ProfileError)
    table = by_k(load_yaml(path, "devices/accuracy/hydravit-b.yaml"), str(path))
    if not table:
        raise ProfileError(f"{path} is empty: give the top-1 of each k, such as 3: 0.72")
    if max(table.values()) > 100:
        raise ProfileError(f"{path} has an accuracy above 100 %: give shares or percentages")
    percent = max(table.values()) > 1
    return {k: value / 100 if percent else value for k, value in table.items()}
