/* SPDX-License-Identifier: Apache-2.0
 * results.h: where results go. Drivers in this process print, too, and what they print must not get
 * between results or into --json. So the program keeps its standard output for itself, on a
 * descriptor and a stream of its own, and descriptor 1, with the C library's stdout over it, leads
 * to standard error for everybody else. The program's sources say printf and stdout as usual, and
 * mean that stream. */
#ifndef FDIT_CLI_RESULTS_H
#define FDIT_CLI_RESULTS_H

#include <stdio.h>

extern FILE *fdit_results;

/* First of all in main. */
void fdit_results_begin(void);

#undef stdout
#undef putchar
#undef puts
#undef printf
#undef vprintf
#define stdout fdit_results
#define printf(...) fprintf(fdit_results, __VA_ARGS__)
#define vprintf(format, args) vfprintf(fdit_results, (format), (args))
#define putchar(c) putc((c), fdit_results)
#define puts(text) fprintf(fdit_results, "%s\n", (text))

#endif
