#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The pages of eval --report in a browser: nothing is asked of another host, no error, letters that can be read on
# light and dark paper, and a page no wider than its window. Without Chromium it is skipped.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
[ -n "$browser" ] || { echo "skipped: no chromium, which shows the pages"; exit 77; }

tar xzf "$source/data/letters-test.tar.gz"
for letter in A B E G K; do
    for style in mono hand; do
        mkdir -p "real/$letter/$style" "drawn/$letter/$style"
        to=real
        for picture in "$letter/$style"/*.png; do
            cp "$picture" "$to/$letter/$style/"
            [ $to = real ] && to=drawn || to=real
        done
    done
done
cp "$(ls real/A/mono/*.png | head -n 1)" drawn/A/mono/copy.png
good eval drawn --real real --draws 20 --report page.html --quiet

# What the page says of itself, in its title: what was loaded beside it, whether it is wider than the window, the
# least contrast of a text with the paper, pictures that do not show, and whether the paper is dark.
cat >probe.js <<'END'
<script>addEventListener('load', () => {
  const light = c => { const v = c.match(/[\d.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  let least = 99;
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || ['SCRIPT', 'title'].includes(e.nodeName)) continue;
    const style = getComputedStyle(e), ink = light(e.ownerSVGElement ? style.fill : style.color);
    least = Math.min(least, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05));
  }
  const loaded = performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:')).length;
  const blank = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;
  const wide = document.documentElement.scrollWidth > innerWidth ? 'wide' : 'fits';
  document.title = `PROBE ${loaded} loaded, ${blank} blank of ${document.images.length > 9 ? 'many' : 'few'}, ${wide}, ` +
    `${least >= 4.5 ? 'clear' : 'faint ' + least}, ${paper < 0.2 ? 'dark' : 'light'}`;
})</script>
END
sed -e '/<\/head>/{r probe.js' -e '}' page.html >probed.html

# shows COLOURS WIDTH: preferredColorScheme 0 is dark
shows() {
    timeout 300 "$browser" --headless --no-sandbox --disable-gpu --disable-background-networking \
        --user-data-dir="$work/profile" --window-size="$2",900 --blink-settings=preferredColorScheme="$1" \
        --enable-logging=stderr --dump-dom "file://$work/probed.html" >dom 2>log
    checks=$((checks + 1))
    ! grep -q CONSOLE log || fail "the page's console at $2 pixels" "$(grep CONSOLE log | head -n 3)"
    equal "the page at $2 pixels" "$(grep -o '<title>PROBE [^<]*' dom | cut -c 8-)" \
        "PROBE 0 loaded, 0 blank of many, fits, clear, $3"
}
shows 1 1200 light
shows 0 500 dark
finish
