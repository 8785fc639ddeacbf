/* SPDX-License-Identifier: Apache-2.0
 * help.c: the list of commands, and `finediffusion help`. */
#include "cli/cli.h"
#include "cli/topics.h"

#include <string.h>

void fdit_help_overview(FILE *to)
{
    int n, n_topics;
    const struct fdit_command *const *list = fdit_commands(&n);
    const struct fdit_topic *topics = fdit_topics(&n_topics);
    fputs("usage: finediffusion COMMAND [OPTION]...\n"
          "\n"
          "Adapts a class-conditional diffusion transformer (DiT) to many fine classes by\n"
          "training its biases, its LayerNorm weights and a new class table, under 2 % of\n"
          "its parameters, and draws pictures of the classes, guided by their\n"
          "superclasses.\n"
          "\n"
          "Commands:\n",
          to);
    for (int i = 0; i < n; i++)
        fprintf(to, "  %-10s %s\n", list[i]->name, list[i]->summary);
    fputs("\n"
          "A first run, on a folder BIRDS/GENUS/SPECIES/*.jpg and a checkpoint of a model\n"
          "on pixels, base.safetensors:\n"
          "  finediffusion inspect BIRDS\n"
          "  finediffusion train --base base.safetensors --data BIRDS --steps 1000 \\\n"
          "      --out run\n"
          "  finediffusion sample --base base.safetensors --delta run/delta.safetensors \\\n"
          "      --classes all --per-class 4 --out pictures --grid sheet.png\n"
          "`finediffusion demo` shows it all on built-in data.\n"
          "\n"
          "Topics of `finediffusion help TOPIC`:\n",
          to);
    for (int i = 0; i < n_topics; i++)
        fprintf(to, "  %-10s %s\n", topics[i].name, topics[i].summary);
    fputs("\n"
          "`finediffusion COMMAND --help` lists the options of a command.\n"
          "`finediffusion --version` says the version and how it was built.\n"
          "Results go to standard output, progress and messages to standard error.\n"
          "Exit status: 0 done, 1 failure, 2 wrong usage, 130, 143 and 129 stopped by\n"
          "SIGINT, SIGTERM and SIGHUP.\n",
          to);
}

static enum fdit_status run(struct fdit_cli *cli, void *args, int n, char **operands)
{
    enum fdit_status status = FDIT_OK;
    int n_topics;
    const struct fdit_topic *topics = fdit_topics(&n_topics);
    (void)args;
    if (!n) {
        fdit_help_overview(stdout);
        return FDIT_OK;
    }
    for (int i = 0; i < n_topics; i++) {
        if (!strcmp(topics[i].name, operands[0])) {
            fputs(topics[i].text, stdout);
            return FDIT_OK;
        }
    }
    const struct fdit_command *command = fdit_command_find(operands[0]);
    if (!command) {
        struct fdit_text_guess guess = { .typed = operands[0], .length = strlen(operands[0]) };
        for (int i = 0; i < n_topics; i++)
            fdit_text_consider(&guess, topics[i].name);
        const char *meant = guess.best ? guess.best : fdit_command_guess(operands[0]);
        FAIL(cli->ctx, FDIT_ERROR_ARGUMENT,
             "'%s' is neither a topic nor a command%s%s%s finediffusion --help", operands[0],
             meant ? "; did you mean " : "", meant ? meant : "", meant ? "? See" : "; see");
    }
    fdit_options_help(command, stdout);
out:
    return status;
}

const struct fdit_command fdit_command_help = {
    .name = "help",
    .summary = "explain a topic or a command",
    .synopsis = "[TOPIC|COMMAND]",
    .about = "Explains a topic (see finediffusion --help) or lists the options of a command.",
    .examples = "  finediffusion help taxonomy\n"
                "  finediffusion help train\n",
    .most_operands = 1,
    .run = run,
};
