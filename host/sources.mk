# SPDX-License-Identifier: Apache-2.0
fdit_sources += host/devices.c host/devices.h host/device_words.h
fdit_sources += host/build_info.c host/build_info.h
