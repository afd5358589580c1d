"""How long a browser takes to show a page: median milliseconds to first paint and to `load`, in headless Chromium.

    python benchmarks/page_load.py [PAGE] [--times N]

The page is reports/index.html unless another one is given. The goal for the full benchmark is 500 ms to `load`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

MEASURE = """() => {
  const [page] = performance.getEntriesByType('navigation');
  const [paint] = performance.getEntriesByName('first-contentful-paint');
  return [paint ? paint.startTime : NaN, page.loadEventEnd];
}"""


def main() -> None:
    """Load the page so many times, each in a fresh context, and print medians and the largest."""
    parser = argparse.ArgumentParser(description="Median milliseconds to first paint and to load.")
    parser.add_argument("page", type=Path, nargs="?", default=Path("reports/index.html"))
    parser.add_argument("--times", type=int, default=11)
    given = parser.parse_args()
    paints, loads = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(given.times):
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.goto(given.page.resolve().as_uri(), wait_until="load")
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            paint, load = page.evaluate(MEASURE)
            paints.append(paint)
            loads.append(load)
            context.close()
        browser.close()
    print(
        f"{given.page}: {given.page.stat().st_size:,} bytes, {given.times} loads, load average {os.getloadavg()[0]:.1f}"
    )
    for name, found in (("first paint", paints), ("load", loads)):
        print(f"{name}: median {statistics.median(found):.0f} ms, largest {max(found):.0f} ms")


if __name__ == "__main__":
    main()
