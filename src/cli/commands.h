/* SPDX-License-Identifier: Apache-2.0
 * commands.h: the sub-commands in the order of --help, X(name) each; included wherever X is defined. */
X(demo)
X(encode)
X(train)
X(sample)
X(eval)
X(bench)
X(inspect)
X(convert)
X(devices)
X(selftest)
X(tune)
X(help)
