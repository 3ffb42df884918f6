"""The label on the picture: python examples/opencv_overlay.py [SOURCE [FOLDER]]

Shows a window, or writes numbered pictures into FOLDER, which it makes. A window needs opencv-python, not its headless
build.
"""

import sys
from pathlib import Path

import cv2

import hydrart


def main(source: str, folder: str | None) -> None:
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    else:
        try:
            cv2.namedWindow("hydrart")
        except cv2.error:
            sys.exit("this OpenCV opens no window: pass a FOLDER, or install opencv-python and give it a display")
    model = hydrart.load()
    with hydrart.Stream(source, model, keep_frame=True) as stream:
        for result in stream:
            assert result.picture is not None  # keep_frame=True
            picture = cv2.cvtColor(result.picture, cv2.COLOR_RGB2BGR)
            answer = result.prediction
            text = f"{answer.label} {answer.score:.0%} k={answer.k}"
            cv2.putText(picture, text, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
            if folder:
                path = Path(folder, f"{result.frame:06}.jpg")
                if not cv2.imwrite(str(path), picture):
                    sys.exit(f"{path} cannot be written: give another FOLDER")
                continue
            cv2.imshow("hydrart", picture)
            if cv2.waitKey(1) == ord("q"):
                break


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "demo", sys.argv[2] if len(sys.argv) > 2 else None)
