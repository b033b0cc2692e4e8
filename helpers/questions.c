/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bounds what a worker may ask for: the files down its chain alone, each once; its report must then
 * name each of them. */
#include "helpers/questions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/wire.h"

/* Of all layers: what an honest chain of disks in many files has is less. */
#define EXTENTS_MAX (8 * (size_t)QCA_EXTENT_FILES_MAX)

struct question_asked {
    enum qca_reference_kind kind;
    uint32_t layer;
    char *name;
};

void questions_done(struct questions *questions)
{
    for (size_t i = 0; i < questions->n_asked; i++)
        free(questions->asked[i].name);
    free(questions->asked);
    *questions = (struct questions){0};
}

/* A chain needs parents and data files, a layer its data file. */
static bool is_due(const struct questions *questions, unsigned flags,
                   const struct worker_question *question)
{
    if (questions->refused || question->layer != questions->layers ||
        question->layer >= WIRE_LAYERS_MAX || !question->name)
        return false;
    switch (question->kind) {
    case QCA_REFERENCE_PARENT:
        return flags & WORKER_CHAIN;
    case QCA_REFERENCE_DATA_FILE:
        return flags & (WORKER_CHAIN | WORKER_LAYER_DIGEST | WORKER_DATA_FILE) &&
               !questions->data_file_asked;
    case QCA_REFERENCE_EXTENT:
        return flags & (WORKER_CHAIN | WORKER_DATA_FILE) &&
               questions->extents_asked < EXTENTS_MAX;
    case _QCA_REFERENCE_MAX:
        break;
    }
    return false;
}

int questions_ask(struct questions *questions, unsigned flags,
                  const struct worker_question *question)
{
    struct question_asked *asked;

    if (!is_due(questions, flags, question))
        return -EBADMSG;
    /* powers of two: as many are allocated */
    asked = questions->asked;
    if ((questions->n_asked & (questions->n_asked - 1)) == 0)
        asked = reallocarray(asked, questions->n_asked ? 2 * questions->n_asked : 1,
                             sizeof(*asked));
    if (!asked)
        return -ENOMEM;
    questions->asked = asked;
    asked += questions->n_asked;
    *asked = (struct question_asked){ .kind = question->kind, .layer = question->layer,
                                      .name = strdup(question->name) };
    if (!asked->name)
        return -ENOMEM;
    questions->n_asked++;
    if (question->kind == QCA_REFERENCE_DATA_FILE)
        questions->data_file_asked = true;
    questions->extents_asked += question->kind == QCA_REFERENCE_EXTENT;
    return 0;
}

void questions_answered(struct questions *questions, int error)
{
    if (questions->n_asked == 0)
        return;
    if (error < 0)
        questions->refused = true;
    else if (questions->asked[questions->n_asked - 1].kind == QCA_REFERENCE_PARENT) {
        questions->layers++;
        questions->data_file_asked = false;
    }
}

/* Extents are asked for in their order, so that *from, the first of the layer's that was not found
 * yet, only grows. Of more than a report has room for, the rest is not told. */
static bool extent_is_told(const struct question_asked *asked, const struct layer_report *layer,
                           size_t *from)
{
    const struct qca_image_info *info = &layer->info;

    while (*from < info->n_extents) {
        const char *name = info->extents[(*from)++].name;

        if (name && strcmp(name, asked->name) == 0)
            return true;
    }
    return layer->extents_total > info->n_extents;
}

static bool is_told(const struct question_asked *asked, const struct layer_report *layer,
                    size_t *from)
{
    const char *told = asked->kind == QCA_REFERENCE_PARENT ? layer->info.parent
                                                           : layer->info.data_file;

    if (asked->kind == QCA_REFERENCE_EXTENT)
        return extent_is_told(asked, layer, from);
    return told && strcmp(told, asked->name) == 0;
}

bool questions_are_told(const struct questions *questions, const struct audit_report *report)
{
    uint32_t layer = 0;
    size_t from = 0;

    for (size_t i = 0; i < questions->n_asked; i++) {
        const struct question_asked *asked = &questions->asked[i];

        if (asked->layer != layer)
            from = 0;
        layer = asked->layer;
        if (layer < report->n_layers && !is_told(asked, &report->layers[layer], &from))
            return false;
    }
    return true;
}
