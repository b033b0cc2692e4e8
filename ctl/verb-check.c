/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check: as `qemu-img check`, of any number of images, in a sandbox, writing and locking
 * nothing. */
#include <errno.h>
#include <string.h>

#include "ctl/bundle.h"
#include "ctl/check.h"

DEFINE_CLEANUP(struct checker *, checker_free)

static int add_json(json_object *all, const struct check *check)
{
    json_object *object;
    int r = check_json(check, &object);

    if (r < 0)
        return r;
    if (json_object_array_add(all, object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    return 0;
}

/* One file: what it says, and its exit status. */
static int check_file(struct ctl *ctl, struct checker *checker, const char *file, json_object *all)
{
    const struct check_ask ask = {
        .flags = WORKER_CHECK | WORKER_CHAIN | (ctl->chain ? WORKER_CHECK_LAYERS : 0) |
            (ctl->scalar ? WORKER_SCALAR : 0) | (ctl->deep ? WORKER_DEEP : 0),
    };
    struct check *check = calloc(1, sizeof(*check));
    int r = check ? checker_run(checker, file, &ask, check) : -ENOMEM, status;

    if (r >= 0)
        r = all ? add_json(all, check) : check_print(ctl, check);
    status = r < 0 ? r : check_exit_status(check, ctl->compatible);
    if (check)
        check_done(check);
    free(check);
    return status;
}

int verb_check(struct ctl *ctl, int argc, char **argv)
{
    bool json = ctl->output.json != JSON_OFF;
    _cleanup_(json_object_putp) json_object *all = json ? json_object_new_array() : NULL;
    _cleanup_(checker_freep) struct checker *checker = NULL;
    int status = CHECK_CLEAN, r = json && !all ? -ENOMEM : checker_new(ctl, false, &checker);

    for (int i = 0; r >= 0 && i < argc; i++) {
        if (i > 0 && !json)
            (void)putchar('\n');
        r = ctl->evidence ? bundle_check(ctl, checker, argv[i], all)
                          : check_file(ctl, checker, argv[i], all);
        if (r >= 0)
            status = check_worse(status, r);
    }
    if (r < 0)
        return r;
    /* One object of one file, as qemu-img; an array of several. */
    if (json && output_json(&ctl->output, argc == 1 ? json_object_array_get_idx(all, 0) : all) < 0)
        return complain(-ENOMEM, "Cannot show the result");
    return status;
}
