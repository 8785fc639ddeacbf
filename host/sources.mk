# SPDX-License-Identifier: Apache-2.0
fdit_sources += host/devices.c host/devices.h
