/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bounds what a worker may ask for: the files down its chain alone, each once; its report must then
 * name each of them. */
#pragma once

#include "helpers/client.h"

/* Of one audit. All zero: nothing was asked. */
struct questions {
    struct question_asked *asked;
    size_t n_asked;
    uint32_t layers;                /* below the image itself that it got */
    bool data_file_asked;           /* of the last of them */
    size_t extents_asked;           /* of all layers */
    bool refused;                   /* then the chain ends, and nothing is asked for any more */
};

void questions_done(struct questions *questions);
/* The image is layer 0. A layer's data file and extents are asked for before its parent, and the
 * next layer's only when that was answered with a file; flags are the request's. -EBADMSG: no
 * honest worker would ask that now; -ENOMEM. */
int questions_ask(struct questions *questions, unsigned flags,
                  const struct worker_question *question);
/* How the last one was answered: 0 or -errno. */
void questions_answered(struct questions *questions, int error);
/* Is each file that was asked for the one that the report has for this layer, where it tells of
 * that? A worker that a hostile image took over could else read another's file, and tell of
 * nothing. */
bool questions_are_told(const struct questions *questions, const struct audit_report *report);
