# SPDX-License-Identifier: Apache-2.0
# A chart of lines as SVG: awk -f tools/chart.awk [-v xlabel=TEXT] FILE >chart.svg
#
# Each line of FILE is PANEL <TAB> SERIES <TAB> X <TAB> Y [<TAB> DEVIATION]. Panels and series stand in the order
# in which they first occur; a series has the same colour in all panels. A panel's axis of y goes from 0 to a round
# number above its highest value; a deviation is a pale bar around the point. Values that are not numbers are left out.

function is_number(s) { return s ~ /^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$/ }

function escaped(s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    return s
}

# x rounded up to 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 or 10 times a power of ten.
function round_up(x,    unit, k) {
    for (unit = 1e-9; unit * 10 < x; unit *= 10) continue
    for (k = 1; nice[k] * unit < x * (1 - 1e-9); k++) continue
    return nice[k] * unit
}

function text(x, y, anchor, colour, s) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, colour, escaped(s)
}

function axes(p,    k, y, x, step) {
    printf "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, top - 16, escaped(panels[p])
    for (k = 0; k <= 4; k++) {
        y = top + HEIGHT - k * HEIGHT / 4
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", left, left + WIDTH, y, y
        text(left - 6, y + 4, "end", "#555", sprintf("%.3g", high[p] * k / 4))
    }
    step = round_up((x_high - x_low) / 6)
    if (whole && step < 1)
        step = 1
    for (x = step * int(x_low / step); x <= x_high * (1 + 1e-9); x += step)
        if (x >= x_low)
            text(at_x(x), top + HEIGHT + 18, "middle", "#555", sprintf("%.6g", x))
    text(left + WIDTH / 2, top + HEIGHT + 36, "middle", "#555", xlabel)
}

function at_x(x) { return left + 12 + (x - x_low) / (x_high > x_low ? x_high - x_low : 1) * (WIDTH - 24) }
function at_y(y, p) { return top + HEIGHT - y / high[p] * HEIGHT }

function line(p, s,    i, d, n) {
    d = ""
    n = 0
    for (i = 1; i <= points; i++) {
        if (of_panel[i] != p || of_series[i] != s)
            continue
        d = d (n++ ? "L" : "M") sprintf("%.1f %.1f ", at_x(xs[i]), at_y(ys[i], p))
    }
    if (!n)
        return
    printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s/>\n", d, colour[s], dash[s]
    for (i = 1; i <= points; i++) {
        if (of_panel[i] != p || of_series[i] != s)
            continue
        if (es[i] > 0)
            printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-opacity=\"0.35\" stroke-width=\"3\"/>\n",
                at_x(xs[i]), at_x(xs[i]), at_y(ys[i] + es[i], p), at_y(ys[i] > es[i] ? ys[i] - es[i] : 0, p), colour[s]
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", at_x(xs[i]), at_y(ys[i], p), colour[s]
    }
}

BEGIN {
    FS = "\t"
    WIDTH = 280
    HEIGHT = 160
    split("1 1.5 2 2.5 3 4 5 6 8 10", nice, " ")
    n_colours = split("#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #8c564b #000000 #7f7f7f #9467bd", palette, " ")
    whole = 1
}

NF >= 4 && is_number($3) && is_number($4) {
    points++
    if (!($1 in panel_number)) {
        panel_number[$1] = ++n_panels
        panels[n_panels] = $1
    }
    if (!($2 in series_number)) {
        series_number[$2] = ++n_series
        series[n_series] = $2
    }
    p = of_panel[points] = panel_number[$1]
    of_series[points] = series_number[$2]
    xs[points] = $3 + 0
    ys[points] = $4 > 0 ? $4 + 0 : 0
    es[points] = is_number($5) ? $5 + 0 : 0
    if (ys[points] + es[points] > high[p])
        high[p] = ys[points] + es[points]
    if (points == 1 || xs[points] < x_low)
        x_low = xs[points]
    if (points == 1 || xs[points] > x_high)
        x_high = xs[points]
    if (xs[points] != int(xs[points]))
        whole = 0
}

END {
    if (!points) {
        print "chart.awk: no points" >"/dev/stderr"
        exit 1
    }
    rows = int((n_panels + 1) / 2)
    columns = n_panels > 1 ? 2 : 1
    legend = 60 + columns * (WIDTH + 80)
    longest = 0
    for (s = 1; s <= n_series; s++) {
        colour[s] = palette[(s - 1) % n_colours + 1]
        dash[s] = s > n_colours ? " stroke-dasharray=\"5 3\"" : ""
        if (length(series[s]) > longest)
            longest = length(series[s])
    }
    width = legend + 40 + longest * 7
    height = rows * (HEIGHT + 90)
    if (height < 40 + n_series * 20)
        height = 40 + n_series * 20
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"", width, height, width, height
    print " font-family=\"sans-serif\" font-size=\"12\">"
    printf "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, height
    for (p = 1; p <= n_panels; p++) {
        left = 60 + (p - 1) % 2 * (WIDTH + 80)
        top = 40 + int((p - 1) / 2) * (HEIGHT + 90)
        high[p] = high[p] > 0 ? 4 * round_up(high[p] / 4) : 1
        axes(p)
        for (s = 1; s <= n_series; s++)
            line(p, s)
    }
    for (s = 1; s <= n_series; s++) {
        printf "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"%s/>\n",
            legend, legend + 22, 36 + s * 20 - 20, 36 + s * 20 - 20, colour[s], dash[s]
        text(legend + 28, 40 + s * 20 - 20, "start", "#222", series[s])
    }
    print "</svg>"
}
