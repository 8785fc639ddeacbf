# SPDX-License-Identifier: Apache-2.0
# The built-in letters are a data set as they are.
ends 0 "$FD" inspect "$FDIT_SRCDIR/data/letters-test.tar.gz"
prints 'classes +110'
