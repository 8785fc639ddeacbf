# SPDX-License-Identifier: Apache-2.0
# Turns the rows of clblast.tsv into one C array of strings: awk -f embed_rows.awk clblast.tsv > rows.c
BEGIN {
    print "/* Made by host/opencl/embed_rows.awk. */"
    print "#include \"opencl/clblast.h\""
    print ""
    print "const char *const fdit_clblast_rows[] = {"
}
/^#/ { next }
{
    gsub(/\\/, "\\\\&")
    gsub(/"/, "\\\"")
    print "    \"" $0 "\","
}
END { print "    0 };" }
