"""The answer to one frame."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.governor.governor import Decision
from hydrart.json_lines import versioned
from hydrart.prediction import Prediction
from hydrart.readings import Readings, View, shown


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one frame."""

    frame: int
    """The frame's number, from 0. Dropped frames count too."""
    t_capture: float
    """time.monotonic() when the frame was captured, in seconds."""
    t_wall: float
    """time.time() when the frame was captured, in seconds."""
    prediction: Prediction
    """Label, score, k and the time that each stage took."""
    capture_ms: float
    """The source's work for the frame, in milliseconds."""
    age_ms: float
    """Milliseconds from capture to answer."""
    deadline_ms: float | None
    """The limit of age_ms, in milliseconds; None without a rate."""
    dropped: int
    """Frames lost since the last result."""
    decision: Decision
    """Why the governor chose k."""
    readings: Readings = field(default_factory=dict)
    """The sensors' readings by the names of `hydrart.readings.READINGS`. An unknown reading is absent."""
    picture: NDArray[np.uint8] | None = None
    """The picture, uint8 RGB [H, W, 3], if the stream keeps it; else None."""
    stamp: object = None
    """The caller's object that came with the frame."""
    blind: tuple[str, ...] = ()
    """Goals that are set but cannot act: `max_temp_c`, `until_h`. Governor.blind() has the reasons."""
    source_name: str | None = None
    """Path of the frame's file, if that is a picture file or one of several videos; else None."""

    def __repr__(self) -> str:
        answer = self.prediction
        return (
            f"Result(frame={self.frame}, {answer.label!r}, score={answer.score:.3f}, k={answer.k}, "
            f"age_ms={self.age_ms:.1f}, missed={self.missed})"
        )

    @property
    def missed(self) -> bool:
        """Whether the answer came after the deadline."""
        return self.deadline_ms is not None and self.age_ms > self.deadline_ms

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON line of this frame, with the version of its fields. An unknown value is None."""
        answer = self.prediction
        line = {
            "frame": self.frame,
            "t_capture": round(self.t_capture, 6),
            "t_wall": round(self.t_wall, 6),
            "k": answer.k,
            "label": answer.label,
            "score": round(answer.score, 4),
            "top": [[label, round(score, 4)] for label, score in answer.top(5)],
            "capture_ms": round(self.capture_ms, 3),
            "preprocess_ms": round(answer.preprocess_ms, 3),
            "infer_ms": round(answer.infer_ms, 3),
            "age_ms": round(self.age_ms, 3),
            "deadline_ms": None if self.deadline_ms is None else round(self.deadline_ms, 3),
            "missed": self.missed,
            "dropped": self.dropped,
            **{name: row.rounded(self.readings.get(name)) for name, row in shown(View.LINE).items()},
            "reason": self.decision.reason,
            "blind": list(self.blind),
            "source_name": self.source_name,
        }
        return versioned(line)
