# SPDX-License-Identifier: Apache-2.0
# Turns OpenCL C files into one C array: awk -f embed.awk prelude.cl linear.cl ... > sources.c
# Each text begins with #line, so that a compiler's messages name the file. What a file includes (in quotes,
# beside it) takes the place of the line: a program has no files.
function base(path) { sub(/.*\//, "", path); return path }
BEGIN {
    print "/* Made by cl/embed.awk. */"
    print "#include \"opencl/state.h\""
    print ""
    print "const struct cl_source fdit_cl_sources[] = {"
}
FNR == 1 {
    if (NR > 1)
        print "    },"
    printf "    { \"%s\", \"#line 1 \\\"%s\\\"\\n\"\n", base(FILENAME), base(FILENAME)
}
function put(line) {
    gsub(/\\/, "\\\\&", line)
    gsub(/"/, "\\\"", line)
    print "      \"" line "\\n\""
}
/^#include "/ {
    name = $2
    gsub(/"/, "", name)
    path = FILENAME
    sub(/[^\/]*$/, name, path)
    while ((got = (getline line < path)) > 0)
        put(line)
    if (got < 0) {
        print "embed.awk: " path " cannot be read" > "/dev/stderr"
        exit 1
    }
    close(path)
    put("#line " FNR + 1 " \"" base(FILENAME) "\"")
    next
}
{ put($0) }
END {
    print "    },"
    print "    { 0, 0 }"
    print "};"
}
