"""The answer to one frame."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.governor.governor import Decision
from hydrart.model import Prediction
from hydrart.readings import Place, Readings, shown


@dataclass(frozen=True, eq=False)
class Result:
    """The answer to one frame.

    frame: its number; t_capture: time.monotonic() when it was captured, t_wall: time.time(); prediction: label,
    score, k and stage times; capture_ms: what the source worked for it; age_ms: from capture to answer;
    deadline_ms: what age_ms may be, None without a rate; dropped: frames lost since the last result; decision: the
    governor's, its reason in a word and the numbers behind it; readings: what is known from sensors, by the names of
    hydrart.readings.READINGS; picture: uint8 RGB [H, W, 3] if the stream keeps it; stamp: the caller's own.
    """

    frame: int
    t_capture: float
    t_wall: float
    prediction: Prediction
    capture_ms: float
    age_ms: float
    deadline_ms: float | None
    dropped: int
    decision: Decision
    readings: Readings = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None
    stamp: object = None

    @property
    def missed(self) -> bool:
        """Whether the answer came after its deadline."""
        return self.deadline_ms is not None and self.age_ms > self.deadline_ms

    def as_dict(self) -> dict[str, Any]:
        """The JSON line of this frame; what is not known is None."""
        answer = self.prediction
        return {
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
            **{name: row.rounded(self.readings.get(name)) for name, row in shown(Place.LINE).items()},
            "reason": self.decision.reason,
        }
