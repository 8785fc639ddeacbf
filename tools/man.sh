#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the manual page from what the program says about itself, so that the two cannot differ:
#
#     tools/man.sh BUILD/finediffusion > man/finediffusion.1
set -eu
program=$1

# Plain text for troff.
escape() { sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e "s/^\([.']\)/\\\\\&\1/"; }

# The help text of one command: usage, a paragraph, headings with options, examples.
command_section() {
    "$program" "$1" --help | awk -v name="$1" '
    function text(s) {
        gsub(/\\/, "\\e", s)
        gsub(/-/, "\\-", s)
        return s ~ /^[.\047]/ ? "\\&" s : s
    }
    # the usage, to the first empty line
    !about && /^$/ { about = 1; print ".PP"; next }
    !about {
        sub(/^usage: /, ""); sub(/^ +/, "")
        command = index($0, "finediffusion " name) == 1
        if (command) {
            printf NR == 1 ? ".SS %s\n" : ".br\n", name
            printf ".B finediffusion %s\n", name
            sub(/^finediffusion [a-z]+ ?/, "") }
        print text($0); next }
    # a table stands as it is
    /^$/ && table { print ".fi"; table = 0 }
    /^  / && !options && !examples {
        if (!table) { print ".nf"; table = 1 }
        print text($0); next }
    /^Examples:$/ { print ".PP\nExamples:\n.nf"; examples = 1; next }
    examples { print text($0); next }
    /^[A-Z][A-Za-z ]*:$/ { printf ".PP\n.I %s\n", $0; options = 1; next }
    /^  --/ {
        line = substr($0, 3)
        at = index(line, "  ")
        n = split(at ? substr(line, 1, at - 1) : line, word, " ")
        printf ".TP\n.B %s%s\n", text(word[1]), (n > 1 ? " \\fI" text(word[2]) "\\fP" : "")
        if (at) { rest = substr(line, at); sub(/^ +/, "", rest); print text(rest) }
        next }
    /^ +/ { sub(/^ +/, ""); print text($0); next }
    /^$/ { if (!options) print ".PP"; next }
    { print text($0) }
    END { if (examples) print ".fi" }'
}

topic_section() {
    printf '.SS %s\n.nf\n' "$1"
    "$program" help "$1" | escape
    echo .fi
}

names() { "$program" --help | sed -n "/^$1/,/^\$/s/^  \\([a-z]*\\)  *[^ ].*/\\1/p"; }

version=$("$program" --version | sed -n '1s/.* //p')
cat <<END
.\" SPDX-License-Identifier: Apache-2.0
.\" Written by tools/man.sh from the program's own help.
.TH FINEDIFFUSION 1 "" "finediffusion $version" "User Commands"
.SH NAME
finediffusion \\- fine\\-tune and sample class\\-conditional diffusion transformers
.SH SYNOPSIS
.B finediffusion
.I COMMAND
.RI [ OPTION ]...
.br
.B finediffusion
.BR \\-\\-help " | " \\-\\-version
.SH DESCRIPTION
Adapts a class\\-conditional diffusion transformer (DiT) to many fine classes by training its biases, its
LayerNorm weights and a new class table, under 2 % of its parameters, and draws pictures of the classes,
guided by their superclasses.
It computes on processors and on OpenCL devices.
.PP
An option may be written as
.B \\-\\-name value
or
.BR \\-\\-name=value ,
and shortened as long as it stays unique;
.B \\-\\-
ends the options.
Results go to standard output, progress and messages to standard error.
.SH COMMANDS
END
for name in $(names Commands); do command_section "$name"; done
echo '.SH TOPICS'
for name in $(names Topics); do topic_section "$name"; done
cat <<'END'
.SH ENVIRONMENT
.TP
.B FINEDIFFUSION_DEVICE
the device when
.B \-\-device
is not given
.TP
.B FINEDIFFUSION_CACHE
the folder of compiled OpenCL programs (default
.IR $XDG_CACHE_HOME/finediffusion ,
else
.IR ~/.cache/finediffusion );
set to nothing: none
.TP
.B FINEDIFFUSION_UNPACK_LIMIT
how many bytes a .tar.gz may unpack to, with K, M, G or T behind the number (default: four fifths of what is
free where it is unpacked).
.TP
.B FINEDIFFUSION_DATA
the folder of the data that
.B demo
and
.B selftest
use, in place of the installed one
.TP
.B FINEDIFFUSION_DRIVER_SECONDS
how long an OpenCL driver may take to be listed, and to be tried (default 20 and 180)
.TP
.BR FINEDIFFUSION_ISA ", " FINEDIFFUSION_GEMM
the instruction set, and the library of matrix products, of the cpu device (multiply-adds: float32 without the
matrix unit); a wrong word is answered with those that there are
.TP
.BR FINEDIFFUSION_OPENCL_GEMM ", " FINEDIFFUSION_OPENCL_SYNC
the matrix products of OpenCL devices, and whether each kernel is waited for; to look for faults of drivers
.TP
.BR FINEDIFFUSION_HELPER ", " FINEDIFFUSION_TEST_MISCOMPUTE ", " FINEDIFFUSION_TEST_UNITS
for tests: the program that looks at drivers, and a device whose results are spoilt to see that it is noticed
.TP
.BR OMP_NUM_THREADS ", " OMP_THREAD_LIMIT
limit the threads of the cpu device where
.B \-\-threads
is not given
.TP
.B OMP_WAIT_POLICY
passive: threads that wait sleep at once, for machines that others use too; active: they do not sleep for long
.TP
.BR OCL_ICD_VENDORS ", " OCL_ICD_FILENAMES ", " OPENCL_VENDOR_PATH ", " LD_LIBRARY_PATH
where OpenCL drivers are looked for, as the OpenCL loader and the dynamic linker read them
.TP
.BR XDG_CACHE_HOME ", " HOME
where the cache is when
.B FINEDIFFUSION_CACHE
is not set
.TP
.B PMI_FD
set by mpiexec of MPICH: where a process says that it has finished
.TP
.B TERM
dumb: progress in plain lines, as where standard error is not a terminal
.TP
.B TMPDIR
where a .tar.gz data set is unpacked while it is in use,
.B demo
works,
.B serve
makes contact sheets, and small files for drivers are put (default /var/tmp; /tmp where that is not there)
.SH SIGNALS
The first SIGINT, SIGTERM, SIGHUP, SIGXCPU or SIGUSR1, or a pipe that nobody reads any more (SIGPIPE), ends the work after the
current step, with a checkpoint, and
.B train
by SIGUSR1, the warning of batch systems, with exit status 0; a second SIGINT or SIGTERM ends the program at once.
SIGHUP and SIGPIPE that are ignored when the program starts (nohup) stay ignored.
A limit of the size of files makes a write fail, as a full disk does.
Either way the run continues with
.BR \-\-resume .
.SH EXIT STATUS
.TP
.B 0
done;
.B serve
also when SIGTERM or SIGINT ends it while it serves, which is how it ends
.TP
.B 1
failure: a file, a device, memory, a number that is not finite
.TP
.B 2
wrong usage: an option or argument
.TP
.BR 130 ", " 143 ", " 129 ", " 141 ", " 152 ", " 138
stopped by SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXCPU, SIGUSR1
.PP
A failure is told in one line on standard error:
.BR "finediffusion: COMMAND: " "what, which, numbers; remedy."
END
