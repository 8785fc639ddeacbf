# SPDX-License-Identifier: Apache-2.0
# A PNG whose zlib header names a smaller window than it uses is read, as browsers read it.
ends 0 "$FD" inspect --pictures "$IN/pictures/window"
silent 'damaged|skipped'
