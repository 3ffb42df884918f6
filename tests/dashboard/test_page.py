"""The live page in a real browser."""

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.support.dashboards import Page


@pytest.mark.slow
def test_the_page_in_a_real_browser(local: Page, tmp_path: Path) -> None:
    from tests.support import chromium

    if not chromium.program():
        pytest.skip("no Chromium is installed")

    async def visit() -> None:
        async with chromium.browser(tmp_path) as tab:
            await tab.open(f"http://localhost:{local.port}/")
            await tab.until("document.getElementById('name')?.textContent.length > 0")
            await tab.until("typeof lastK !== 'undefined' && lastK !== null")  # its script may come later
            await tab.until("document.getElementById('picture').naturalWidth === 64")
            await tab.until("document.querySelector('canvas').width > 100")
            drawn = (
                "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 300, 100).data].some(v => v)"
            )
            await tab.until(drawn)
            await tab.evaluate("document.getElementById('fix').value = '5'")
            await tab.evaluate("document.querySelector('#controls button').click()")
            await tab.until("document.getElementById('k').textContent === '5'")
            await tab.until("document.getElementById('why').textContent === 'fixed'")
            await tab.until("document.getElementById('switches').textContent.includes('5')")
            light, dark = [await tab.look(1000, 800, dark) for dark in (False, True)]
            corners = []
            for png in (light, dark):
                with Image.open(io.BytesIO(png)) as image:
                    corners.append(sum(image.convert("RGB").getpixel((2, image.height - 3))))  # type: ignore[arg-type]
            assert corners[0] > 600 and corners[1] < 150, "light and dark"
            await tab.look(360, 740, dark=True)
            assert await tab.evaluate("document.documentElement.scrollWidth") <= 360, "a phone need not scroll sideways"
            await tab.evaluate("document.getElementById('fix').value = ''")
            await tab.evaluate("document.querySelector('#controls button').click()")
            await tab.until("document.getElementById('why').textContent !== 'fixed'")
            hosts = {url.split("/")[2] for url in tab.requests if not url.startswith("data:")}
            assert hosts == {f"localhost:{local.port}"} and tab.errors == []

    asyncio.run(visit())
