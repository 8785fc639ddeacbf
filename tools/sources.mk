# SPDX-License-Identifier: Apache-2.0
# Programs for tools that compare or make data; built by name: make tools/pictures/crop
EXTRA_PROGRAMS += tools/pictures/crop
tools_pictures_crop_SOURCES = tools/pictures/crop.c
tools_pictures_crop_LDADD = libfdit_all.la
