/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies for what has lost something: a parent that lies elsewhere now, a chain that nobody
 * has. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/datastore.h"
#include "daemon/remedy/gate.h"
#include "helpers/hex.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LAYERS_MAX 50           /* moved by one command */
#define LOST_MAX 5

/* ---- left over ------------------------------------------------------------------------------- */

/* Away, but not gone, and all layers with one another, the leaves first: ORPHAN is a name that says
 * so. */
void remedy_leftover(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    struct image *layers[LAYERS_MAX];
    size_t n = graph_tree(image, layers, LAYERS_MAX);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    _cleanup_free_ char *command = NULL;

    if (graph_unused_base(graph, image) != image) {
        remedy_note(remedy, "No command is given, because something may refer to it now: see "
                            "qcauditctl show and qcauditctl findings.");
        return;
    }
    if (n > LAYERS_MAX) {
        remedy_note(remedy,
                    "No command is given, because the %zu layers are more than one command should "
                    "move: move the whole folder aside, or all of them together, so that their "
                    "references stay right (qcauditctl chain has the list).",
                    n);
        return;
    }
    for (size_t i = n; i-- > 0;) {
        _cleanup_free_ char *quoted = NULL, *aside = NULL, *quoted_aside = NULL,
                            *before = TAKE_PTR(command);

        quoted = remedy_quote(remedy, layers[i]->path);
        if (asprintf(&aside, "%s.orphan", layers[i]->path) < 0)
            aside = NULL;
        quoted_aside = aside ? remedy_quote(remedy, aside) : NULL;
        if (!quoted || !quoted_aside ||
            asprintf(&command, "%s%smv -nT -- %s %s", before ? before : "", before ? " && " : "",
                     quoted, quoted_aside) < 0) {
            command = NULL;
            remedy->error = remedy->error < 0 ? remedy->error : -ENOMEM;
            return;
        }
        gate_image(&gate, layers[i], GATE_MOVE);
        gate_target(&gate, aside);
    }
    if (!gate_is_open(&gate))
        return;
    remedy_precondition(remedy, "nobody needs %s: check with everyone who might own %s",
                        n == 1 ? "it" : "any of the layers", n == 1 ? "it" : "them");
    remedy_command(remedy, &gate, "%s", command);
    remedy_text(remedy, n == 1 ? "Delete it a month later, if nobody missed it."
                               : "Delete them a month later, if nobody missed them. Until then, "
                                 "moved back under their names they are as they were.");
}

/* ---- a parent that lies elsewhere ------------------------------------------------------------ */

static bool has_users(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    return (relation && relation->n_children > 0) ||
           graph_image_usage(graph, image).n_entries > 0;
}

static const char *format_of(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    return layer && layer->probed_format != QCA_FORMAT_UNKNOWN
               ? qca_format_name(layer->probed_format) : NULL;
}

static bool folder_is_there(const struct image *image, const struct image *lost, const char *path)
{
    size_t n = (size_t)(strrchr(path, '/') - path);
    const char *folders[] = { image->path, lost->path };

    for (size_t i = 0; i < ELEMENTSOF(folders); i++)
        if ((size_t)(strrchr(folders[i], '/') - folders[i]) == n &&
            strncmp(folders[i], path, n) == 0)
            return true;
    return image->datastore && image->datastore->path &&
           strlen(image->datastore->path) == n && strncmp(image->datastore->path, path, n) == 0;
}

void remedy_move_back(struct remedy *remedy, const struct graph *graph, const struct image *image,
                      const struct image *lost, const char *path)
{
    /* A guest that has the file open keeps it, whatever it is called. */
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    _cleanup_free_ char *quoted = remedy_quote(remedy, lost->path),
                        *quoted_path = remedy_quote(remedy, path), *folder = NULL,
                        *quoted_folder = NULL;

    if (!quoted || !quoted_path)
        return;
    if (!remedy_name_is_plain(path) || !remedy_name_is_plain(lost->path)) {
        remedy_step_rename_first(remedy);
        return;
    }
    folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    quoted_folder = folder ? remedy_quote(remedy, folder) : NULL;
    if (!quoted_folder) {
        remedy->error = remedy->error < 0 ? remedy->error : -ENOMEM;
        return;
    }
    gate_target(&gate, path);
    if (!gate_is_open(&gate))
        return;
    if (!folder[0] || folder_is_there(image, lost, path))
        remedy_command(remedy, &gate, "mv -nT -- %s %s", quoted, quoted_path);
    else
        remedy_command(remedy, &gate, "mkdir -p -- %s && mv -nT -- %s %s", quoted_folder, quoted,
                       quoted_path);
}

void remedy_renamed(struct remedy *remedy, const struct graph *graph, const struct image *image,
                    const char *path)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    if (has_users(graph, image)) {
        remedy_text(remedy,
                    "%s is the file that the domain has open, and others use it by that name: "
                    "no command is given. Find out which of the names is to stay, and name the "
                    "file so everywhere, with all of them shut off.",
                    quoted);
        return;
    }
    remedy_text(remedy,
                "%s is the file that the domain has open: nothing is lost when the domain stops, "
                "but it cannot be started again. Move it back, while the domain runs:",
                quoted);
    remedy_move_back(remedy, graph, image, image, path);
}

/* The overlay is made to name the file where it lies now. */
static void step_rename_reference(struct remedy *remedy, const struct graph *graph,
                                  const struct image *image, const struct image *lost)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path),
                        *quoted_lost = remedy_quote(remedy, lost->path);
    const struct layer_report *layer = image_layer(image);
    const char *format = format_of(lost), *declared = image->parent.format;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!quoted || !quoted_lost)
        return;
    if (!remedy_name_is_plain(image->path) || !remedy_name_is_plain(lost->path)) {
        remedy_step_rename_first(remedy);
        return;
    }
    if (!layer || !qca_format_has(layer->probed_format, QCA_TRAIT_REBASE) || !format ||
        (declared && strcmp(declared, format) != 0)) {
        remedy_note(remedy,
                    "No command is given that changes the reference, because the format of %s is "
                    "not what the image declares, or not known.",
                    quoted_lost);
        return;
    }
    gate_image(&gate, image, GATE_REFERENCE);
    gate_image(&gate, lost, GATE_PARENT);
    remedy_gate_copy(&gate, image);
    if (!gate_is_open(&gate))
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_step_keep(remedy, &gate, image);
    remedy_and(remedy, &gate, "qemu-img rebase -u -F %s -b %s %s", format, quoted_lost, quoted);
}

/* The quoted names of those that only have the parent's name, and how many they are; NULL when the
 * remedy has failed. */
static char *named_so(struct remedy *remedy, const struct lost_parent *found, size_t n,
                      size_t *ret_n)
{
    char *names = NULL;

    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *before = NULL, *quoted = NULL;

        if (found[i].by != FOUND_BY_NAME)
            continue;
        before = names;
        names = NULL;
        quoted = remedy_quote(remedy, found[i].image->path);
        if (!quoted || asprintf(&names, "%s%s%s", before ? before : "", before ? ", " : "",
                                quoted) < 0) {
            remedy->error = remedy->error < 0 ? remedy->error : -ENOMEM;
            return NULL;
        }
        (*ret_n)++;
    }
    return names;
}

/* Says what to compare the files with. Others may stand on such a file, so that it is copied, and
 * never moved. */
static void step_by_name(struct remedy *remedy, const struct image *image,
                         const struct lost_parent *found, size_t n)
{
    static const char copy[] = "copy it (cp -nT --preserve=all) to where the image looks for it, "
                               "and leave it itself where it is";
    const struct former *former = image->former;
    char digest[2 * sizeof(former->digest) + 1], size[TEXT_SIZE_MAX];
    size_t n_named;
    _cleanup_free_ char *names = named_so(remedy, found, n, &n_named);
    const char *have = n_named == 1 ? "has the parent's name, and may be another image"
                                    : "have the parent's name, and each may be another image";

    if (!names)
        return;
    if (former && former->has_digest && !former->encrypted && former->parent.inode == 0) {
        hex_encode(former->digest, sizeof(former->digest), digest);
        remedy_text(remedy,
                    "%s %s. Compare what it holds: qcauditctl hash --content must print %s. Only "
                    "then %s.",
                    names, have, digest, copy);
    } else if (former && former->virtual_size > 0) {
        remedy_text(remedy,
                    "%s %s: what the parent held, a disk of %s, is not known. Compare it with a "
                    "backup of the parent (qcauditctl compare). Only if it is the same, %s.",
                    names, have, text_size(former->virtual_size, size), copy);
    } else {
        remedy_text(remedy,
                    "%s %s: the parent was never seen here. Compare it with a backup of the parent "
                    "(qcauditctl compare). Only if it is the same, %s.",
                    names, have, copy);
    }
}

/* The file did not move: the image did, or what it refers to was written. Its header is the word of
 * whoever may write it, a guest with a raw disk even; nothing is moved to where it says. */
static void step_changed_reference(struct remedy *remedy, const char *quoted)
{
    remedy_text(remedy,
                "%s is the parent, and lies where it was: the image itself was moved, or its "
                "reference was changed. Move the image back to its folder; if nobody moved it, "
                "find out who wrote its header before anything else. No command is given.",
                quoted);
}

/* Has a domain the parent open, as far as one can tell? Where libvirt is not asked, one may. */
static bool one_may_run(const struct graph *graph, const struct image *image)
{
    struct image *layers[LAYERS_MAX];
    size_t n = graph_tree(image, layers, LAYERS_MAX);

    if (n > LAYERS_MAX || !usage_is_complete(graph_usage(graph)))
        return true;
    for (size_t i = 0; i < n; i++) {
        struct usage usage = graph_image_usage(graph, layers[i]);

        if (layers[i]->locked != FILES_UNUSED)
            return true;
        for (size_t k = 0; k < usage.n_entries; k++)
            if (usage.entries[k].live)
                return true;
    }
    return false;
}

static void step_candidate(struct remedy *remedy, const struct graph *graph,
                           const struct image *image, const struct lost_parent *candidate,
                           const char *wanted)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, candidate->image->path);

    if (!quoted)
        return;
    if (candidate->changed) {
        remedy_text(remedy,
                    "%s is the same file, but it does not hold any more what it held as the "
                    "parent: no command is given. Restore the parent from a backup.",
                    quoted);
    } else if (candidate->by == FOUND_BY_IDENTITY && lost_stayed(image, candidate)) {
        step_changed_reference(remedy, quoted);
    } else if (candidate->by == FOUND_BY_IDENTITY && image->former &&
               (!wanted || strcmp(wanted, image->former->path) != 0)) {
        remedy_text(remedy,
                    "%s is the parent, under another name; and the image does not look for it "
                    "where it was. Find out who renamed it, and what was changed in the image: no "
                    "command is given.",
                    quoted);
    } else if (candidate->by == FOUND_BY_IDENTITY && wanted &&
               !has_users(graph, candidate->image)) {
        remedy_text(remedy, "%s is the parent, under another name. Move it back:", quoted);
        remedy_move_back(remedy, graph, image, candidate->image, wanted);
    } else {
        remedy_text(remedy,
                    candidate->by == FOUND_BY_IDENTITY
                        ? "%s is the parent, under another name, by which others use it now. Name "
                          "it so in the image:"
                        : "%s holds the same as the parent did, as its data was read last. Name it "
                          "in the image:",
                    quoted);
        step_rename_reference(remedy, graph, image, candidate->image);
    }
}

void remedy_parent_missing(struct remedy *remedy, const struct graph *graph,
                           const struct image *image)
{
    struct lost_parent found[LOST_MAX];
    size_t n = graph_find_lost(graph, image, found, LOST_MAX);
    _cleanup_free_ char *wanted = NULL, *quoted = NULL;

    if (image->parent.stored &&
        reference_lexical(image->path, image->parent.stored, &wanted) < 0)
        wanted = NULL;
    if ((n == 0 || found[0].by != FOUND_BY_IDENTITY || found[0].changed) &&
        one_may_run(graph, image))
        remedy_text(remedy, "Do not stop a domain that still runs on it: it has the parent open.");
    /* Of several that are surely the same, one will do. */
    for (size_t i = 0; i < n && i < LOST_MAX; i++) {
        if (found[i].by == FOUND_BY_NAME)
            continue;
        step_candidate(remedy, graph, image, &found[i], wanted);
        if (!found[i].changed)
            return;
    }
    step_by_name(remedy, image, found, n < LOST_MAX ? n : LOST_MAX);
    quoted = wanted ? remedy_quote(remedy, wanted) : NULL;
    remedy_text(remedy, "Bring the parent back to %s, or restore it there from a backup.",
                quoted ? quoted : "where the image looks for it");
}

/* ---- a chain that contains itself ------------------------------------------------------------ */

void remedy_loop(struct remedy *remedy, const struct graph *graph, const struct image *head)
{
    const struct image *member = head, *wrong = NULL;
    struct lost_parent found;
    size_t n_known = 0, n = 0;

    do {
        if (member->former) {
            n_known++;
            wrong = member;
        }
        member = graph_relation(graph, member)->parent;
    } while (member && member != head && n++ < LAYERS_MAX);
    if (n_known != 1) {
        remedy_text(remedy,
                    n_known == 0
                        ? "Which reference is wrong, and what it was before, was not seen: the "
                          "loop is older than what is known of it. Find it out from a backup's "
                          "list of the chain."
                        : "More than one reference was changed: see the evidence for what each of "
                          "them was, and find out which change was wrong.");
        return;
    }
    if (graph_find_lost(graph, wrong, &found, 1) == 1 && found.by != FOUND_BY_NAME &&
        !found.changed) {
        _cleanup_free_ char *quoted = remedy_quote(remedy, wrong->path),
                            *quoted_found = remedy_quote(remedy, found.image->path);

        if (!quoted || !quoted_found)
            return;
        remedy_text(remedy,
                    "The parent of %s was %s. Make it so again with the domain shut off, after a "
                    "copy was made of the image (qemu-img rebase -u -b %s -F %s %s).",
                    quoted, quoted_found, quoted_found,
                    format_of(found.image) ? format_of(found.image) : "FORMAT", quoted);
    } else {
        _cleanup_free_ char *quoted = remedy_quote(remedy, wrong->path),
                            *quoted_former = remedy_quote(remedy, wrong->former->path);

        if (quoted && quoted_former)
            remedy_text(remedy,
                        "The parent of %s was %s, which is not there any more: restore it from a "
                        "backup, and name it again (qemu-img rebase -u).",
                        quoted, quoted_former);
    }
}
