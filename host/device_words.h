/* SPDX-License-Identifier: Apache-2.0
 * device_words.h: what the help says of devices by name, the same in every build, so that the commands
 * themselves name none. */
#ifndef FDIT_HOST_DEVICE_WORDS_H
#define FDIT_HOST_DEVICE_WORDS_H

/* The help of --device. */
#define FDIT_DEVICES_SPEC "cpu, gpu, opencl:P:D or part of a name"
/* What a shell may offer as its value. */
#define FDIT_DEVICES_OFFERS "cpu|gpu|opencl:|ref"

/* `finediffusion tune`: the option that counts trials of a library's parameters, and the environment that
 * leaves out what was found. */
#define FDIT_TUNE_LIBRARY "clblast"
#define FDIT_TUNE_LIBRARY_NOTE "; 0: leave out CLBlast"
#define FDIT_TUNE_LIBRARY_HELP "sets of CLBlast parameters to try"
#define FDIT_TUNE_OFF "FINEDIFFUSION_OPENCL_GEMM=default"
#define FDIT_TUNE_ABOUT                                                                        \
    "Times the matrix products of a model in every way that an OpenCL device offers: the "     \
    "program's own kernels with many tile sizes, a matrix unit that passed its test, and, in " \
    "f32, CLBlast with the parameters of many GPUs. The fastest way that gives the right "     \
    "result is stored for this device, driver and --precision in the cache folder "            \
    "($FINEDIFFUSION_CACHE, else ~/.cache/finediffusion) and used from then on.\n\n"           \
    "PROBLEM is a model in the words of 'bench'; the default is fine-tuning DiT-S/2 and "      \
    "DiT-XL/2. This takes minutes; Ctrl-C stores nothing. 'finediffusion devices' "            \
    "shows which devices are tuned, 'finediffusion bench' before and after shows the gain."
#define FDIT_TUNE_EXAMPLES                                               \
    "  finediffusion tune --device gpu\n"                                \
    "  finediffusion tune --device opencl:0:0 'train full DiT-B/2 b8'\n" \
    "  finediffusion tune --precision bf16 'sample DiT-XL/2 b4'\n"       \
    "  finediffusion tune --clblast 0 'train DiT-S/2 b4'\n"

/* `finediffusion help devices` */
#define FDIT_DEVICES_TOPIC                                                               \
    "Devices\n"                                                                          \
    "\n"                                                                                 \
    "--device cpu          the processor; --threads N limits its threads. The default\n" \
    "                      is one thread for each processor that the program may\n"      \
    "                      use: the affinity mask, the CPU quota of a container,\n"      \
    "                      OMP_NUM_THREADS and OMP_THREAD_LIMIT are respected. So\n"     \
    "                      are, for memory, the limit of a container and ulimit -v\n"    \
    "                      and -d. `devices` shows which limit applies\n"                \
    "--device gpu          the best GPU that works\n"                                    \
    "--device opencl:P:D   device D of OpenCL platform P\n"                              \
    "--device NAME         part of a name that `finediffusion devices` shows\n"          \
    "--device ref          slow loops in double precision, to compare with\n"            \
    "Without the option, $FINEDIFFUSION_DEVICE is used, else the best GPU that works,\n" \
    "else the cpu.\n"                                                                    \
    "\n"                                                                                 \
    "OpenCL drivers are other people's code and may crash, hang or print text. So\n"     \
    "each version of a driver is first loaded and tested in a separate process. A\n"     \
    "driver that fails is not used, and `finediffusion devices --all` says why; that\n"  \
    "command tests all of them again. A driver has 20 seconds to list its devices and\n" \
    "180 to compile the test; FINEDIFFUSION_DRIVER_SECONDS=N gives N for each. In the\n" \
    "same way a GPU's matrix unit is tested, for 120 seconds, before bf16 or f16 use\n"  \
    "it; `finediffusion devices` names what multiplies matrices in each precision.\n"    \
    "\n"                                                                                 \
    "The same device, build and options give the same bits, for any number of\n"         \
    "threads. Different devices use the same noise and agree to rounding.\n"             \
    "\n"                                                                                 \
    "Compiled OpenCL programs, and what is known about drivers, are kept in\n"           \
    "~/.cache/finediffusion. FINEDIFFUSION_CACHE names another folder; if it is set\n"   \
    "to nothing, nothing is kept.\n"                                                     \
    "\n"                                                                                 \
    "--precision and --weights choose arithmetic and storage; what the device lacks\n"   \
    "is refused. bf16 computes matrix products and attention in bf16 and adds up in\n"   \
    "f32. int8 multiplies by the large frozen matrices in int8 (one scale for each\n"    \
    "feature; their inputs are converted to int8 row by row) and computes the rest in\n" \
    "bf16 or, if the CPU lacks that, in f32: the fastest way to sample on a CPU that\n"  \
    "supports it; OpenCL devices use their dot products of int8, if they have any.\n"    \
    "`finediffusion devices` shows what each device supports.\n"                         \
    "\n"                                                                                 \
    "FINEDIFFUSION_ISA names the instruction set of the cpu device, for example avx2;\n" \
    "without it the best one is used, and a wrong name is answered with the list.\n"     \
    "FINEDIFFUSION_GEMM names another library for float32 matrix products, if this\n"    \
    "build has one. `finediffusion devices` shows both.\n"

#endif
