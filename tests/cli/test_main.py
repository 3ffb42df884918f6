"""cli/main.py: what the command loads before it knows which command is called."""

import subprocess
import sys

# what only some commands need
LATE = ("torch", "onnx", "onnxruntime", "openvino", "numba", "cv2", "aiohttp", "matplotlib", "safetensors")
CODE = f"""
import sys
from hydrart.cli.main import main
try:
    main(["--help"], prog_name="hydrart")
finally:
    print(sorted(name for name in sys.modules if name in {LATE} or name.startswith("hydrart.convert")), file=sys.stderr)
"""


def test_help_loads_no_large_library() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert "train-teacher" in done.stdout and "convert" in done.stdout
    assert done.stderr == "[]\n"
