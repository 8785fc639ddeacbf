/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/topics.h"

/* Lines of at most 80 columns. */

static const char data[] =
    "Data: pictures with classes\n"
    "\n"
    "DATA is one of the following, told apart by what is there.\n"
    "\n"
    "  1. A folder with one sub-folder per class. Nested folders are ranks: the class\n"
    "     is the whole path below DATA, the folder above it its superclass.\n"
    "         BIRDS/owls/tawny owl/001.jpg        class \"owls/tawny owl\"\n"
    "         BIRDS/owls/barn owl/a.png           superclass \"owls\"\n"
    "         BIRDS/gulls/herring gull/x.webp\n"
    "         finediffusion train --data BIRDS ...\n"
    "  2. A .tar, .tar.gz or .tgz of such a folder.\n"
    "         tar cf birds.tar -C BIRDS .\n"
    "         finediffusion train --data birds.tar ...\n"
    "  3. WebDataset shards: beside each picture KEY.jpg a KEY.cls, a text file with\n"
    "     the number of the class. A folder of shards, or a list; quote it, and a\n"
    "     brace, * or comma in it means what it means to a shell.\n"
    "         train-000.tar: 0001.jpg 0001.cls 0002.jpg 0002.cls ...\n"
    "         finediffusion train --data \"train-{000..041}.tar,more-*.tar\" \\\n"
    "             --taxonomy birds.tsv ...\n"
    "     Numbers are the taxonomy's lines, from 0; without one they are the names.\n"
    "  4. A cache that 'finediffusion encode' made of any of these: latents of the\n"
    "     pictures and of their mirror images, or pixels, with classes and ranks.\n"
    "         finediffusion encode BIRDS cache --vae sd-vae --size 256\n"
    "         finediffusion train --data cache ...\n"
    "\n"
    "Ranks that folders do not show come from --taxonomy (see 'help taxonomy'):\n"
    "  TSV       a table with a header: class, then one column per rank\n"
    "         class        genus  family\n"
    "         tawny owl    Strix  Strigidae\n"
    "  JSON      iNaturalist's file with \"categories\": folders may have the name of\n"
    "            a species or its image_dir_name. The superclass is supercategory;\n"
    "            --ranks picks others: kingdom, phylum, class, order, family, genus\n"
    "         finediffusion train --data train_mini --taxonomy train_mini.json \\\n"
    "             --ranks family,supercategory ...\n"
    "\n"
    "PNG, JPEG, WebP are read, told apart by content. Other files and names with a\n"
    "leading dot are left out. A picture that cannot be decoded stops the run and is\n"
    "named; --skip-bad leaves it out.\n"
    "\n"
    "Class ids: with --taxonomy the order of the file's lines, else the byte order\n"
    "of the folder names.\n"
    "\n"
    "Each picture becomes a square of the model's size: --fit crop (default) takes\n"
    "the middle, --fit pad keeps the whole picture and fills the edges. --flip\n"
    "horizontal (default) mirrors half of the samples; use --flip none for pictures\n"
    "with writing.\n"
    "\n"
    "--val FRACTION keeps that share of every class aside; --val DATA takes another\n"
    "data set. The validation loss uses fixed noise, so that its values at different\n"
    "steps can be compared.\n"
    "\n"
    "  finediffusion inspect BIRDS --pictures     counts all and decodes all\n";

static const char taxonomy[] =
    "Taxonomy: classes and their groups\n"
    "\n"
    "A taxonomy says which group every class belongs to at each rank (species:\n"
    "genus, family, ...). The class table of a model has one row per class and one\n"
    "per group of every picked rank.\n"
    "\n"
    "--taxonomy FILE is one of\n"
    "  TSV     with a header; the first column is the class, each further column a\n"
    "          rank:\n"
    "              class          genus    family\n"
    "              parus-major    Parus    Paridae\n"
    "          Groups of a rank are in byte order, or as a line\n"
    "          `#order genus=Parus,Turdus` says.\n"
    "  JSON    the categories of iNaturalist: id is the class id, supercategory the\n"
    "          superclass, kingdom ... genus further ranks for --ranks\n"
    "Without it the nesting of the folders gives the ranks level1, level2, ... from\n"
    "the class upwards.\n"
    "\n"
    "--ranks A,B\n"
    "    picks ranks and their order (default: all)\n"
    "--superclass RANK\n"
    "    the rank that takes the label drops in training and guides in sampling\n"
    "    (default: the first picked one, next to the class)\n"
    "--superclass-train all|A,B\n"
    "    shares the label drops among ranks, so that each of them can guide\n"
    "\n"
    "Every class of the data must be in the taxonomy with every picked rank filled;\n"
    "what is missing is listed. On the command line an exact name wins, #5 forces an\n"
    "id, and @FILE has one name per line.\n"
    "\n"
    "New classes for a model that exists: train --delta OLD takes the rows of all\n"
    "classes and groups that have the same name. With a --taxonomy that lists old\n"
    "and new classes, --data need not hold pictures of the old ones.\n"
    "  finediffusion train --base base.safetensors --delta run/delta.safetensors \\\n"
    "      --taxonomy all.tsv --data new-birds --steps 2000 --out run2\n";

static const char guidance[] =
    "Guidance: how strongly a picture shows its class\n"
    "\n"
    "In training a label becomes its superclass with probability --drop-prob (0.1).\n"
    "In sampling each step predicts the noise twice, for the class and for its\n"
    "guide, and goes on from the guide's prediction through that of the class:\n"
    "    eps = eps_guide + W (eps_class - eps_guide)\n"
    "W = 1 is the class alone; 4 is usual. Larger W gives clearer and less varied\n"
    "pictures. With the superclass as the guide, only what tells the class from its\n"
    "relatives is amplified.\n"
    "\n"
    "train --label-drop empty uses one row without a meaning instead, as plain\n"
    "classifier-free guidance does, and adds that row to the table. Guiding by a rank\n"
    "that took no drops in training is an error.\n";

static const char memory[] =
    "Memory: the plan\n"
    "\n"
    "Everything a job keeps on a device is planned before it starts; a step\n"
    "allocates nothing.\n"
    "    finediffusion train ... --plan               print the plan and exit\n"
    "    finediffusion train ... --plan --memory 6G   fail if it needs over 6 GiB\n"
    "Sizes are bytes or have a suffix K, M, G, T (powers of 1024).\n"
    "\n"
    "What takes memory, and what to change:\n"
    "  frozen weights    --weights, where the device can store them in fewer bits\n"
    "  trained weights   with gradients, two moments and EMA, five numbers each:\n"
    "                    --tune\n"
    "  activations       grow with --batch. --recompute branches keeps a quarter of\n"
    "                    them and computes at most a third more, block keeps a\n"
    "                    twelfth for half more. --batch 8 --accumulate 4 trains like\n"
    "                    --batch 32\n"
    "  picture cache     --cache-memory, in the memory of the host\n"
    "  held before       the program, its libraries, and drivers that were looked at\n"
    "                    to find a device: --device cpu looks at none\n"
    "'sum of the process' is what a system monitor shows at the highest; on a GPU the\n"
    "device's part is not in it.\n";

static const char devices[] =
    "Devices\n"
    "\n"
    "--device cpu          the processor; --threads N limits its threads\n"
    "--device gpu          the best GPU that works\n"
    "--device opencl:P:D   device D of OpenCL platform P\n"
    "--device NAME         part of a name that `finediffusion devices` shows\n"
    "--device ref          slow loops in double precision, to compare with\n"
    "Without the option $FINEDIFFUSION_DEVICE says it; else it is the best GPU that\n"
    "works, else the cpu.\n"
    "\n"
    "The same device, build and options give the same bits, for any number of\n"
    "threads. Different devices use the same noise and agree to rounding.\n"
    "\n"
    "--precision and --weights ask for other arithmetic and storage; what the device\n"
    "lacks is refused.\n";

static const char random_numbers[] =
    "Random numbers\n"
    "\n"
    "Training: --seed N decides the order of the pictures, mirroring, noise, label\n"
    "drops and the start of new weights. Every number is a function of the seed and\n"
    "of the sample's position, so neither --workers nor --threads nor an interruption\n"
    "changes anything: a resumed run ends with the same bits as one that was never\n"
    "stopped.\n"
    "\n"
    "Sampling: picture k of a class has the seed S + k. Its noise is Philox-4x32-10\n"
    "with that seed as the key and the class id in the counter: a picture does not\n"
    "depend on the batch or on its neighbours.\n";

static const char files[] =
    "Files of a run\n"
    "\n"
    "  RUN/delta.safetensors       the result: trained parameters (EMA, float32) and,\n"
    "                              in its metadata, model size, taxonomy, guide,\n"
    "                              options and a fingerprint of the base\n"
    "  RUN/config.json             the options: --resume checks them\n"
    "  RUN/log.jsonl               step, loss, mse, vb, lr, images a second, seconds\n"
    "  RUN/events.out.tfevents.*   the same and the previews, for TensorBoard\n"
    "  RUN/checkpoints/step-N.safetensors\n"
    "                              raw weights, EMA, both moments, position in the\n"
    "                              data\n"
    "  RUN/previews/step-N.png     sheets of sampled pictures\n"
    "\n"
    "Files appear whole or not at all. A run that was killed at any moment continues\n"
    "with the same command and --resume. Steps, epochs, device, threads, workers,\n"
    "intervals and --keep may change then.\n"
    "\n"
    "A checkpoint of all weights is complete by itself: the delta.safetensors of\n"
    "`train --tune full` is a --base for the next run. Checkpoints with the public\n"
    "names are read from safetensors (float32, float16, bfloat16, also sharded with\n"
    "an .index.json). The model's size is taken from metadata, from a config.json\n"
    "beside the file, or from the tensors; --model D,L,H,P says what they do not.\n";

static const struct fdit_topic topics[] = {
    { "data", "pictures, classes, validation", data },
    { "taxonomy", "classes and their groups", taxonomy },
    { "guidance", "superclasses as guides", guidance },
    { "memory", "the plan, and how to make it smaller", memory },
    { "devices", "what computes", devices },
    { "random", "seeds and repeatability", random_numbers },
    { "files", "what a run leaves, what can be read", files },
};

const struct fdit_topic *fdit_topics(int *n)
{
    *n = sizeof topics / sizeof topics[0];
    return topics;
}
