# SPDX-License-Identifier: Apache-2.0
# Turns the page's files into one C array: awk -f embed.awk page/index.html page/page.css ... > embedded.c
# Lines become strings; bytes that are not ASCII become octal escapes, so the locale has to be C.
function put(line,   i, c, out) {
    gsub(/\\/, "\\\\&", line)
    gsub(/"/, "\\\"", line)
    gsub(/[?]/, "\\?", line) # no trigraphs
    out = ""
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        out = out (c in octal ? octal[c] : c)
    }
    print "    \"" out "\\n\""
}
function base(path) { sub(/.*\//, "", path); return path }
function type(name) {
    if (name ~ /\.html$/) return "text/html; charset=utf-8"
    if (name ~ /\.css$/) return "text/css; charset=utf-8"
    if (name ~ /\.js$/) return "text/javascript; charset=utf-8"
    if (name ~ /\.svg$/) return "image/svg+xml"
    print "embed.awk: " name ": no type is known" > "/dev/stderr"
    exit 1
}
BEGIN {
    for (i = 128; i < 256; i++)
        octal[sprintf("%c", i)] = sprintf("\\%o", i)
    print "/* Made by src/serve/embed.awk. */"
    print "#include \"serve/page.h\""
}
FNR == 1 {
    if (n)
        print ";"
    names[++n] = base(FILENAME)
    print "\nstatic const unsigned char file" n "[] ="
}
{ put($0) }
END {
    print ";\n\nconst struct fdit_http_file fdit_page_files[] = {"
    for (i = 1; i <= n; i++) {
        printf "    { \"/%s\", \"%s\", file%d, sizeof file%d - 1 },\n",
            names[i] == "index.html" ? "" : names[i], type(names[i]), i, i
    }
    print "    { 0, 0, 0, 0 }\n};"
}
