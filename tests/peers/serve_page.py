#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page of `serve` in a real browser: times, keyboard, accessibility, what it asks for, pictures of it.

    pip install playwright axe-playwright-python; apt-get install chromium
    tests/peers/serve_page.py BUILD/finediffusion MODEL.safetensors CLASSES [FOLDER [RUN...]]

MODEL is a small model of `train --tune full --from-scratch`; a copy of it gets a table and a taxonomy of CLASSES
classes in genera, families and orders. Chromium (CHROMIUM=PATH, else /usr/bin/chromium) opens the page. FOLDER takes
pictures of the page, and of the curves of each RUN. Exit status 1 when a limit does not hold: first rows within 1 s, a node opened within 100 ms, a
key of the search within 50 ms (each the median of several), no request to another host, no message on the console, no
violation that axe finds.
"""
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

failures = []


def holds(what, value, limit, unit="ms"):
    good = value <= limit
    print(f"{what}: {value:.1f} {unit}, at most {limit} {'holds' if good else 'DOES NOT HOLD'}", flush=True)
    if not good:
        failures.append(what)


def make_model(source, classes, to):
    """A copy with a table of so many classes; four of them a genus, ten genera a family, ten families an order."""
    with open(source, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    meta = header.pop("__metadata__")
    ranks, rows = [], classes
    for name, each in (("genus", 4), ("family", 40), ("order", 400)):
        n = (classes + each - 1) // each
        of = [i // each for i in range(classes)]
        ranks.append({"name": name, "groups": [f"{name.title()}-{i:05d}" for i in range(n)], "of": of})
        rows += n
    names = [f"species {i:06d} {'Ä' if i % 7 == 0 else 'a'}lba" for i in range(classes)]
    meta["taxonomy"] = json.dumps({"classes": names, "ranks": ranks}, separators=(",", ":"))
    meta["guide"] = "genus"
    meta.pop("train", None)
    model = json.loads(meta["model"])
    model["table_rows"] = rows
    meta["model"] = json.dumps(model)
    table = "y_embedder.embedding_table.weight"
    new, at, out = {"__metadata__": meta}, 0, []
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        part = data[first:end]
        if name == table:
            entry["shape"][0] = rows
            row = 4 * entry["shape"][1]
            part = (part * (rows * row // len(part) + 1))[: rows * row]
        new[name] = {**entry, "data_offsets": [at, at + len(part)]}
        at += len(part)
        out.append(part)
    text = json.dumps(new, ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    with open(to, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for part in out:
            file.write(part)


def start(program, model, runs):
    watched = [word for run in runs for word in ("--run", run)]
    server = subprocess.Popen([program, "serve", "--base", model, "--port", "0", "--json", *watched],
                              stdout=subprocess.PIPE, text=True)
    told = json.loads(server.stdout.readline())
    return server, told["address"], told["token"]


def open_page(context, address, token):
    page = context.new_page()
    said, elsewhere = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((address, "blob:")) else
            elsewhere.append(request.url))
    page.goto(f"{address}#{token}", wait_until="commit")
    page.wait_for_selector("#tree .row")
    shown = page.evaluate("performance.now()")
    return page, said, elsewhere, shown


def open_nodes(page, count):
    """From the key to the row below, for several nodes of the tree, by the keyboard alone."""
    script = """async () => {
        const tree = document.getElementById("tree"), times = [];
        tree.focus();
        const press = (key) => tree.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        const rows = () => Number(tree.firstElementChild.style.height.replace("px", ""));
        for (let i = 0; i < COUNT; i++) {
            const before = rows(), begin = performance.now();
            press("ArrowRight");
            while (rows() === before && performance.now() - begin < 2000)
                await new Promise(requestAnimationFrame);
            times.push(performance.now() - begin);
            press("ArrowRight");
            if (i % 3 === 2)
                for (let k = 0; k < 7; k++) { press("ArrowLeft"); }
            if (i % 3 === 2) { press("ArrowDown"); }
        }
        return times;
    }"""
    return page.evaluate(script.replace("COUNT", str(count)))


def type_search(page, word):
    script = """async (word) => {
        const input = document.getElementById("search"), found = document.getElementById("found"), times = [];
        for (let i = 1; i <= word.length; i++) {
            const text = word.slice(0, i);
            found.textContent = "";
            input.value = text;
            const begin = performance.now();
            input.dispatchEvent(new Event("input"));
            while (!found.textContent && performance.now() - begin < 2000)
                await new Promise((resolve) => setTimeout(resolve, 1));
            times.push(performance.now() - begin);
        }
        return times;
    }"""
    return page.evaluate(script, word)


def wait(page, expression, seconds=60):
    """The page's policy forbids the evaluation that wait_for_function does."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"the page does not come to: {expression}")
        time.sleep(0.02)


def check_axe(page, where):
    found = Axe().run(page).response["violations"]
    for violation in found:
        print(f"axe, {where}: {violation['id']}: {violation['help']}: "
              + "; ".join(node["html"][:160] for node in violation["nodes"][:3]))
    holds(f"axe, {where}", len(found), 0, "violations")


def check_keyboard(page):
    """Every control can be reached by Tab, and the focus is seen."""
    wanted = page.evaluate("""() => [...document.querySelectorAll("button, input, select, textarea, a, [tabindex='0']")]
        .filter((e) => e.checkVisibility() && !e.disabled).length""")
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(wanted + 30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("""() => { const e = document.activeElement;
            e.dataset.seen ||= String(Math.random()); return e === document.body ? "" : e.dataset.seen; }"""))
    reached.discard("")
    holds("controls that Tab does not reach", max(0, wanted - len(reached)), 0, "")


def check_drawing(page):
    page.evaluate("""() => { const e = document.getElementById("draw").elements;
        e.steps.value = 5; e["per-class"].value = 2; }""")
    page.click("#draw button[type=submit]")
    wait(page, "document.querySelectorAll('.card:first-child figure .actions').length === 2")
    page.click("#strip")
    wait(page, "document.querySelectorAll('.card:first-child figure .actions').length === 6")
    page.click("text=More like this >> nth=0")
    wait(page, "document.querySelectorAll('.card:first-child figure .actions').length === 8")
    page.click("text=Show command >> nth=0")
    page.wait_for_selector("textarea.command")
    command = page.input_value("textarea.command")
    if not re.match(r"finediffusion sample --base .* --out pictures$", command):
        failures.append("the command: " + command)
    with page.expect_download() as download:
        page.click("text=Save sheet >> nth=0")
    print("saved", download.value.suggested_filename)


def check_runs(page, runs):
    """All runs in one chart for each number; memory in units."""
    page.click("#runs-button")
    page.wait_for_selector("#curves figure")
    captions = [caption.inner_text() for caption in page.query_selector_all("#curves figcaption")]
    print("\n".join(captions))
    memory = [caption for caption in captions if re.match(r"memory: .* now: [0-9.]+ [KMG]iB at step", caption)]
    loss = [caption for caption in captions if caption.startswith("loss: ")]
    holds("runs without a curve of memory", 1 - len(memory), 0, "")
    holds("runs that the curve of loss lacks", sum(Path(run).name + ": " not in loss[0] for run in runs), 0, "")
    check_axe(page, "runs")


def main():
    if len(sys.argv) < 4 or "--help" in sys.argv:
        print(__doc__)
        return 0 if "--help" in sys.argv else 2
    program, source, classes = sys.argv[1], sys.argv[2], int(sys.argv[3])
    pictures = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    runs = sys.argv[5:]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        model = os.path.join(folder, "model.safetensors")
        make_model(source, classes, model)
        server, address, token = start(program, model, runs)
        browser = play.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"))
        try:
            shown = []
            for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
                context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 844},
                                              reduced_motion="reduce")
                page, said, elsewhere, rows = open_page(context, address, token)
                shown.append(rows)
                where = f"{scheme}, {width} pixels"
                holds(f"{where}: open a node", statistics.median(open_nodes(page, 9)), 100)
                times = type_search(page, "species 00123")
                holds(f"{where}: a key of the search, median", statistics.median(times), 50)
                holds(f"{where}: a key of the search, slowest", max(times), 200)
                check_axe(page, where + ", search")
                page.keyboard.press("Escape")
                page.evaluate("""() => { const i = document.getElementById("search"); i.focus();
                    i.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" })); }""")
                page.focus("#tree")
                page.keyboard.press("End")
                page.keyboard.press("Enter")
                wait(page, "document.getElementById('path').querySelectorAll('li').length > 0")
                page.fill("#search", "#7")
                page.click("#results button")
                wait(page, "document.getElementById('facts').textContent.startsWith('Class #7')")
                page.fill("#search", "")
                check_drawing(page)
                check_axe(page, where + ", drawn")
                if width == 1280:
                    check_keyboard(page)
                    page.reload()
                    page.wait_for_selector("#drawn figure .actions", timeout=60000)
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                holds(f"{where}: wider than the window", max(0, wide), 0, "pixels")
                if pictures:
                    pictures.mkdir(exist_ok=True)
                    page.evaluate("scrollTo(0, 0)")
                    page.screenshot(path=pictures / f"serve-{classes}-{scheme}-{width}.png")
                if runs:
                    check_runs(page, runs)
                    if pictures:
                        page.screenshot(path=pictures / f"serve-runs-{scheme}-{width}.png", full_page=True)
                for text in said:
                    print("console:", text)
                for url in elsewhere:
                    print("asked for:", url)
                holds(f"{where}: messages on the console", len(said), 0, "")
                holds(f"{where}: requests to other hosts", len(elsewhere), 0, "")
                context.close()
            holds("first rows, slowest of four", max(shown), 1000)
        finally:
            browser.close()
            server.terminate()
            server.wait(10)
    print(f"{len(failures)} limits do not hold" + ("" if not failures else ": " + "; ".join(failures)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
