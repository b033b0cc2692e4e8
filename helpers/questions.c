/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bounds what a worker may ask for: the files down its chain alone, each once; its report must then
 * name each of them. */
#include "helpers/questions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/wire.h"

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
    }
    return false;
}

int questions_ask(struct questions *questions, unsigned flags,
                  const struct worker_question *question)
{
    struct question_asked *asked;

    if (!is_due(questions, flags, question))
        return -EBADMSG;
    asked = reallocarray(questions->asked, questions->n_asked + 1, sizeof(*asked));
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

bool questions_are_told(const struct questions *questions, const struct audit_report *report)
{
    for (size_t i = 0; i < questions->n_asked; i++) {
        const struct question_asked *asked = &questions->asked[i];
        const struct qca_image_info *info;
        const char *told;

        if (asked->layer >= report->n_layers)
            continue;
        info = &report->layers[asked->layer].info;
        told = asked->kind == QCA_REFERENCE_PARENT ? info->parent : info->data_file;
        if (!told || strcmp(told, asked->name) != 0)
            return false;
    }
    return true;
}
