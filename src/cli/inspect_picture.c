/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/inspect_picture.h"

#include "sample/like.h"

bool fdit_inspect_is_drawn(const char *path)
{
    struct fdit_like like;
    const bool is = fdit_like_read(NULL, path, &like) == FDIT_OK;
    fdit_like_fini(&like);
    return is;
}

enum fdit_status fdit_inspect_drawn(struct fdit_cli *cli, const char *path, struct fdit_json *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_like like;
    TRY(fdit_like_read(cli->ctx, path, &like));
    fdit_json_put_text(out, NULL, "kind", "drawn picture");
    fdit_json_put_int(out, NULL, "width", (int64_t)like.width);
    fdit_json_put_int(out, NULL, "height", (int64_t)like.height);
    fdit_json_put(out, NULL, "drawn", json_deep_copy(like.text));
    fdit_like_fini(&like);
out:
    return status;
}

static void line(struct fdit_cli *cli, const json_t *drawn, const char *key, const char *label)
{
    char text[200];
    const json_t *v = json_object_get(drawn, key);
    if (json_is_string(v))
        fdit_cli_print(cli, "  %-12s %s\n", label, json_string_value(v));
    else if (v)
        fdit_cli_print(cli, "  %-12s %s\n", label, fdit_json_show(v, text, sizeof text));
}

void fdit_inspect_drawn_print(struct fdit_cli *cli, const json_t *drawn)
{
    json_t *options = json_object_get(drawn, "options"), *v;
    const char *key;
    char text[200];
    line(cli, drawn, "class", "class");
    line(cli, drawn, "id", "class id");
    line(cli, drawn, "seed", "seed");
    line(cli, drawn, "model", "model");
    line(cli, drawn, "weights", "hash");
    line(cli, drawn, "version", "version");
    fdit_cli_print(cli, "  %-12s", "drawn with");
    json_object_foreach(options, key, v)
    {
        fdit_cli_print(cli, " --%s %s", key,
                       json_is_string(v) ? json_string_value(v) : fdit_json_show(v, text, sizeof text));
    }
    fdit_cli_print(cli, "\n");
}
