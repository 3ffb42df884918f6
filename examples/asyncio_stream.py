"""Results in an asyncio program: python examples/asyncio_stream.py [SOURCE]"""

import asyncio
import sys
from collections.abc import AsyncIterator

import hydrart


async def results(stream: hydrart.Stream) -> AsyncIterator[hydrart.Result]:
    """The stream's results. The event loop is free while one is awaited."""
    iterator = iter(stream)
    try:
        while (result := await asyncio.to_thread(next, iterator, None)) is not None:
            yield result
    finally:
        stream.stop()  # a next() that still runs in its thread ends


async def main(source: str) -> None:
    with hydrart.Stream(source, hydrart.load()) as stream:
        async for result in results(stream):
            print(result.frame, result.prediction.label, f"{result.age_ms:.1f} ms", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "demo"))
