"""The live page in a real browser."""

import asyncio
import contextlib
import io
import json
from pathlib import Path

import pytest
from PIL import Image

import hydrart
from tests.support.dashboards import Page, page

pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: dashboard)")

from hydrart.dashboard.controls import Bounds


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


@pytest.mark.slow
def test_a_page_says_what_is_in_force_and_when_nothing_comes(model: hydrart.Model, tmp_path: Path) -> None:
    from tests.support import chromium

    if not chromium.program():
        pytest.skip("no Chromium is installed")
    text = "document.getElementById('%s').textContent"
    click = "document.querySelector('#controls button').click()"

    async def visit() -> None:
        async with chromium.browser(tmp_path) as tab:
            bounds = Bounds(max_k=8, max_temp_c=70)
            with page(model, bounds=bounds, seen=lambda height, width: (0.25, 0.1, 0.5, 0.8)) as running:
                await tab.open(f"http://localhost:{running.port}/")
                await tab.until("typeof lastK !== 'undefined' && lastK !== null && settings !== null")
                # the part that the network sees
                await tab.until("!document.getElementById('seen').hidden")
                box, frame = [
                    await tab.evaluate(f"JSON.stringify(document.getElementById('{name}').getBoundingClientRect())")
                    for name in ("seen", "frame")
                ]
                shares = {name: json.loads(box)[name] / json.loads(frame)[name] for name in ("width", "height")}
                assert shares == {"width": pytest.approx(0.5, abs=0.01), "height": pytest.approx(0.8, abs=0.01)}
                # another tab sets k; this one shows it, and leaves it alone when it sets the limit
                await tab.evaluate(
                    "const box = document.getElementById('limit'); box.value = '61';"
                    "box.dispatchEvent(new Event('input'))"
                )
                assert running.ask("/control", "POST", {"k": 4})[0] == 200
                await tab.until("document.getElementById('fix').value === '4'")
                assert await tab.evaluate("document.getElementById('limit').value") == "61", "somebody is at it"
                await tab.evaluate(click)
                await tab.until("settings.max_temp_c === 61 && settings.fixed_k === 4")
                force = await tab.evaluate(text % "force")
                assert force == "In force: k 4 (the run has --max-k 8), at most 61 °C (the run has --max-temp 70)."
                assert await tab.evaluate("[...document.querySelectorAll('#fix option')].at(-1).value") == "8"
                await tab.evaluate("document.getElementById('limit').value = '71'")
                await tab.evaluate(click)
                await tab.until("document.getElementById('answer').textContent.includes('at most 70')")
                # screen readers
                names = "[...document.querySelectorAll('canvas')].every(one => one.role === 'img' && one.ariaLabel)"
                await tab.until(names)
                await tab.until(
                    "document.getElementById('said').textContent === document.getElementById('name').textContent"
                )
                assert not await tab.evaluate("document.body.classList.contains('stale')")
                await tab.until(
                    "document.getElementById('blind').textContent.startsWith('The temperature limit cannot')"
                )
                # no answers, although the server lives
                running.pause.set()
                await tab.until("document.body.classList.contains('stale')")
                await tab.until("/^last answer \\d+ s ago$/.test(document.getElementById('since').textContent)")
                assert await tab.evaluate(text % "fps") == "0.0"
                assert await tab.evaluate("getComputedStyle(document.getElementById('frame')).filter") == "grayscale(1)"
                running.pause.clear()
                await tab.until("!document.body.classList.contains('stale')")
                port = running.port
            await tab.until("document.getElementById('state').textContent === 'no connection'")
            assert await tab.evaluate("document.body.classList.contains('stale')")
            await tab.evaluate("document.getElementById('limit').value = '50'")
            await tab.evaluate(click)
            await tab.until("document.getElementById('answer').textContent === 'not set: the server does not answer'")
            first = await tab.evaluate("run")
            with page(model, port=port):
                await tab.until(f"run !== '{first}' && !document.body.classList.contains('stale')")
                assert await tab.evaluate(text % "force") == "In force: k by the governor, no limit."
                values = "document.getElementById('fix').value + '|' + document.getElementById('limit').value"
                assert await tab.evaluate(values) == "|"
                await tab.until("document.getElementById('picture').naturalWidth === 64")
            with page(model, "a token", port=port):
                await tab.until("document.getElementById('state').textContent.startsWith('log in again')")
                await tab.open(f"http://localhost:{port}/?token=a%20token")
                await tab.until("typeof lastK !== 'undefined' && lastK !== null")
                assert "token" not in await tab.evaluate("location.href")

    asyncio.run(visit())


@pytest.mark.slow
def test_a_link_of_another_site_logs_in(local: Page, guarded: Page, tmp_path: Path) -> None:
    from tests.support import chromium

    if not chromium.program():
        pytest.skip("no Chromium is installed")

    async def visit() -> None:
        async with chromium.browser(tmp_path) as tab:
            await tab.open(f"http://127.0.0.1:{local.port}/")  # for the browser another site than localhost
            await tab.until("typeof lastK !== 'undefined' && lastK !== null")
            with contextlib.suppress(chromium.NavigatedError):
                await tab.evaluate(f"location.href = 'http://localhost:{guarded.port}/?token=a%20token'")
            await tab.until("location.hostname === 'localhost' && typeof lastK !== 'undefined' && lastK !== null")
            assert await tab.evaluate("location.search") == ""

    asyncio.run(visit())
