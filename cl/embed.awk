# SPDX-License-Identifier: Apache-2.0
# Turns OpenCL C files into one C array: awk -f embed.awk prelude.cl linear.cl ... > sources.c
# Each text begins with #line, so that a compiler's messages name the file.
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
{
    gsub(/\\/, "\\\\&")
    gsub(/"/, "\\\"")
    print "      \"" $0 "\\n\""
}
END {
    print "    },"
    print "    { 0, 0 }"
    print "};"
}
