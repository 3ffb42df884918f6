"""The pictures of the terminal and of the live page: docs/run.png and docs/page.png. Needs Chromium.

python -m tools.screenshots
"""

import asyncio
import io
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.chromium import browser

DOCS = Path(__file__).parents[1] / "docs"
HYDRART = (sys.executable, "-m", "hydrart")
RUN = (*HYDRART, "run", "--source", "demo")
WIDTH, HEIGHT = 80, 30
TERMINAL_S, PAGE_S = 16, 60  # seconds of a run before its picture is taken
_CONTROL = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)")


def screen(output: str) -> list[str]:
    """The lines that a terminal shows after this output. It knows the sequences that click and rich write."""
    lines, row, fresh = [""], 0, True
    for part in _CONTROL.split(output):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            fresh = True
        elif re.fullmatch(r"\x1b\[\d*A", part):
            row = max(0, row - int(part[2:-1] or 1))
        elif re.fullmatch(r"\x1b\[\d*K", part):
            lines[row] = ""
        elif part.startswith("\x1b") and not part.endswith("m"):
            continue  # shows or hides the cursor
        elif part:
            lines[row] = part if fresh and not part.startswith("\x1b") else lines[row] + part
            fresh = False
    return lines


def terminal(command: tuple[str, ...], seconds: float) -> str:
    """The output of the command to a terminal in this many seconds."""
    main, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    output, end = b"", time.monotonic() + seconds
    try:
        while (left_s := end - time.monotonic()) > 0:
            if select.select([main], [], [], left_s)[0]:
                output += os.read(main, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(main)
    return output.decode(errors="replace")


async def photograph(address: str, path: Path, size: tuple[int, int], seconds: float = 0) -> None:
    """Save Chromium's view of an address after this many seconds, as a PNG of this width and height."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with browser(Path(folder)) as page:
            await page.open(address)
            await asyncio.sleep(seconds)
            path.write_bytes(await page.look(*size, dark=True))


def main() -> None:
    subprocess.run([*HYDRART, "warmup"], check=True)
    lines = screen(terminal(RUN, TERMINAL_S))
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    for line in lines:
        console.print(Text.from_ansi(line))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "run.svg")
        console.save_svg(str(picture), title="hydrart run --source demo")
        width, height = (float(side) for side in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.read_text())[0])
        asyncio.run(photograph(picture.as_uri(), DOCS / "run.png", (round(width), round(height))))
    command = (*RUN, "--loop", "--fps", "25", "--serve", "0")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(line.split()[-1] for line in process.stderr if line.startswith("live page:"))
            asyncio.run(photograph(address, DOCS / "page.png", (1100, 690), PAGE_S))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
