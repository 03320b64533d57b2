"""The page of a run, as Aim's own server shows it in a real browser."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from aim.sdk.repo import Repo

from cpt_aim import AimLogger, AimOptions

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"),
    pytest.mark.timeout(180),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)
FIGURE = {
    "data": [{"type": "scatter", "mode": "lines", "x": [0, 0.5, 1], "y": [-0.5, -0.25, 0.1]}],
    "layout": {"title": {"text": "domain: 80% of 60 documents improved"}},
}


@pytest.fixture
def repo_folder(tmp_path: Path) -> Path:
    """A repository with one run that has ended."""
    folder = tmp_path / "nova-tiny-5f2c91ab"
    folder.mkdir()
    logger = AimLogger(AimOptions(tags=("browser",)), folder, folder.name)
    logger.start({"optim": {"lr": 1e-4}, "train": {"max_length": 8192}}, 0)
    for step in range(1, 30):
        logger.metrics(step, {"train/loss": 3 / step, "validation/domain/loss": 2 / step})
    logger.text(29, "sample/after", "def main(): return 'a sample'")
    logger.figure(29, "figure/domain/change", FIGURE)
    logger.close()
    return tmp_path


@pytest.fixture
def server(repo_folder: Path) -> Iterator[str]:
    """`aim up` on the repository."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-c", "from aim.cli.cli import cli_entry_point; cli_entry_point()", "up", "--workers=1"]
    argv += [f"--repo={repo_folder}", "--host=127.0.0.1", f"--port={port}"]
    with (
        (repo_folder / "server.log").open("wb") as log,
        subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}/api/projects/", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        else:
            return


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'browser'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def _page(browser: webdriver.Chrome, url: str, *texts: str) -> None:
    """Opens a page, which must come to show all of `texts`."""
    browser.get(url)
    deadline = time.monotonic() + 60
    while missing := [text for text in texts if text not in browser.find_element("tag name", "body").text]:
        assert time.monotonic() < deadline, f"{url} lacks {missing}; it shows:\n{browser.find_element('tag name', 'body').text}"
        time.sleep(0.3)
    if folder := os.environ.get("CPT_AIM_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"{url.rpartition('/')[2]}.png"))


def test_the_runs_page_shows_its_name_recipe_metrics_texts_and_figures(repo_folder: Path, server: str, browser: webdriver.Chrome) -> None:
    (run,) = Repo(str(repo_folder)).iter_runs()
    page = f"{server}/runs/{run.hash}"
    _page(browser, f"{page}/overview", "nova-tiny-5f2c91ab", "browser", "train.max_length", "8192")
    _page(browser, f"{page}/metrics", "train/loss", "validation/domain/loss")
    _page(browser, f"{page}/texts", "a sample")
    _page(browser, f"{page}/figures", "80% of 60 documents improved")
