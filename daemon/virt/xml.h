/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's XML to plain structs. Pure functions of NUL-ended texts, which are hostile: a domain's
 * administrator chose the names and paths in them. Formats: libvirt.org/format.html,
 * formatsnapshot, formatcheckpoint, formatbackup, formatstorage.
 *
 * In common: 0, or -EBADMSG (not well-formed, a document type, or another document), -E2BIG,
 * -ENOMEM, and nothing is returned then. What is beyond a limit of virt.h is left out and
 * counted. They need libxml2: virt_library_load_xml() comes first. */
#pragma once

#include <libxml/tree.h>

#include "daemon/virt/part.h"

#define VIRT_XML_MAX (4u << 20)     /* bytes: what libvirt's protocol carries */

/* live: the domain as it is; defined: the persistent definition beside it, or NULL. */
int virt_xml_body(const char *live, const char *defined, struct virt_body **ret_body);
/* The struct's content is the caller's, for virt_snapshot_done() and the like. */
int virt_xml_snapshot(const char *xml, struct virt_snapshot *ret_snapshot, uint64_t *ret_left_out);
int virt_xml_checkpoint(const char *xml, struct virt_checkpoint *ret_checkpoint,
                        uint64_t *ret_left_out);
int virt_xml_pool(const char *xml, struct virt_pool *ret_pool);
/* Files of a backup under way: scratch files and targets. NULL-ended. */
int virt_xml_backup(const char *xml, char ***ret_files);

/* ---- shared by the files behind it ----------------------------------------------------------- */

/* One document being read; its counters are looked at once, at the end. */
struct virt_xml {
    xmlDoc *document;
    const xmlNode *root;        /* its outermost element */
    uint64_t n_left_out;
    bool no_memory;
};

/* root: the name of the outermost element. */
int virt_xml_open(const char *text, const char *root, struct virt_xml *ret_xml);
void virt_xml_close(struct virt_xml *xml);

bool virt_xml_is(const xmlNode *node, const char *name);
/* The first child element of that name, and the next one behind node; NULL takes and gives NULL. */
const xmlNode *virt_xml_child(const xmlNode *node, const char *name);
const xmlNode *virt_xml_next(const xmlNode *node, const char *name);
/* Malloc'd. NULL when it is not there, empty, too long (counted), or without memory (noted). */
char *virt_xml_attribute(struct virt_xml *xml, const xmlNode *node, const char *name);
char *virt_xml_text(struct virt_xml *xml, const xmlNode *node);
/* The same where it is an absolute path, else NULL. */
char *virt_xml_path(struct virt_xml *xml, const xmlNode *node, const char *attribute);
/* Is the attribute there with exactly this value? */
bool virt_xml_attribute_is(const xmlNode *node, const char *name, const char *value);
/* A number in the element's unit, as bytes; 0 when there is none. */
uint64_t virt_xml_size(struct virt_xml *xml, const xmlNode *node);
/* A UUID, or -EBADMSG. */
int virt_xml_uuid(struct virt_xml *xml, const xmlNode *node, char ret_uuid[static 37]);
