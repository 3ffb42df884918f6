"""The tree of exceptions. Every message is one sentence that says what is wrong, where, and what to do.

HydrartError
 |- WeightFileError     a weight file is missing, damaged or of another version
 |   `- UnfinishedWeightFileError  it is being written, so that trying again may help
 |- PictureError        a picture cannot be read, or is unfit for the network
 |- HeadsError          a number of heads that was not trained (also a ValueError)
 |- SettingError        an unknown backend, precision, thread count or goal (also a ValueError)
 |- SourceError         a camera, video or folder gives no frames
 |   `- NotThereError   a camera or stream is not there yet: a later try may open it
 |- ProfileError        a device profile is missing or malformed
 `- MissingExtraError   an optional dependency is not installed, or does not load
"""

import importlib
import re
import types


class HydrartError(Exception):
    """The base of every error that hydrart raises on purpose."""


class WeightFileError(HydrartError):
    """A weight file is missing, damaged or of another version."""


class UnfinishedWeightFileError(WeightFileError):
    """A weight file is cut short, or was written to while it is in use. Trying again may help."""


class PictureError(HydrartError):
    """A picture cannot be read, or is unfit for the network."""


class HeadsError(HydrartError, ValueError):
    """A number of heads that the network was not trained for."""


class SettingError(HydrartError, ValueError):
    """An unknown backend, precision, thread count or goal."""


class SourceError(HydrartError):
    """A camera, video or folder gives no frames."""


class NotThereError(SourceError):
    """A camera or stream is not there yet: a later try may open it."""


class ProfileError(HydrartError):
    """A device profile is missing or malformed."""


class MissingExtraError(HydrartError):
    """An optional dependency is not installed, or is installed and cannot be imported.

    what: the feature that needs it; package: its name for people; extra: of hydrart; error: of the import, if any;
    module: the module that was imported.
    """

    def __init__(self, what: str, package: str, extra: str, error: Exception | None = None, module: str = "") -> None:
        super().__init__(_missing(what, package, extra, error, module))


def import_extra(module: str, what: str, package: str, extra: str) -> types.ModuleType:
    """Import an optional module and return it. Any failure becomes a MissingExtraError, see there."""
    try:
        found = importlib.import_module(module)
        if getattr(found, "__file__", None) is None:  # Python takes a folder without code for a package
            raise ImportError("its files are missing", name=module)
        return found
    except Exception as error:  # damaged packages raise anything
        raise MissingExtraError(what, package, extra, error, module) from None


def _missing(what: str, package: str, extra: str, error: Exception | None, imported: str) -> str:
    from hydrart import installation  # imported here because only those who lack a package need it

    module = (isinstance(error, ImportError) and error.name) or imported
    if error is None or (isinstance(error, ModuleNotFoundError) and not (module and installation.is_there(module))):
        return f"{what} needs {package}: install it with: {installation.install_command(extra)}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if library := re.search(r"(\S+\.so\S*): cannot open shared object file", reason):
        return (
            f"{what} needs {package}, which lacks the library {library[1]}: "
            "install that with the system's package manager"
        )
    return (
        f"{what} needs {package}, which is installed but cannot be imported ({reason}): "
        f"install it again with: {installation.reinstall_command(module, extra)}"
    )
