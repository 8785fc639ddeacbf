/* SPDX-License-Identifier: Apache-2.0 */
#include "finediffusion.h"

const char *fdit_version(void)
{
    return PACKAGE_VERSION;
}
