/* SPDX-License-Identifier: Apache-2.0 */
/* an OpenCL driver that misbehaves when it is asked for platforms */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int clIcdGetPlatformIDsKHR(unsigned m, void **p, unsigned *n)
{
    (void)m;
    (void)p;
    (void)n;
    *(volatile int *)0 = 1;
    return -1001;
}
void *clGetExtensionFunctionAddress(const char *s)
{
    return strcmp(s, "clIcdGetPlatformIDsKHR") ? 0 : (void *)clIcdGetPlatformIDsKHR;
}
int clGetPlatformInfo(void *a, unsigned b, unsigned long c, void *d, unsigned long *e)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    (void)e;
    return -1;
}
