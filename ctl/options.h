/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Options of qcauditctl. Which of them a verb takes is in its row. */
#pragma once

#include "ctl/ctl.h"

#define OPTIONS_MAX 80

struct option_row {
    const char *name;
    char letter;                /* 0 none */
    const char *argument;       /* NULL none; in brackets, with its =, one that may be left out */
    bool global;                /* for every verb */
    const char *help;
};

/* Those that were given, by their places. */
struct given_options {
    bool help, version;
    bool given[OPTIONS_MAX];
    bool by_letter[OPTIONS_MAX];
};

/* In the order of the help; NULL past the last one. */
const struct option_row *option_at(size_t i);
bool option_may_lack_argument(const struct option_row *option);
/* Takes their values into ctl. -EINVAL (printed); arguments begin at optind. */
int options_parse(struct ctl *ctl, int argc, char **argv, struct given_options *given);
