/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive of evidence, from its first member to its manifest. */
#include "ctl/bundle-make.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "build-config.h"
#include "helpers/json-text.h"
#include "qcaudit/control.h"

/* Nothing for NULL. */
int bundle_add_json(struct bundle_maker *maker, const char *name, json_object *value)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = value ? output_json_text(value, &text, &size) : 0;

    return r < 0 || !value ? r : bundle_add(&maker->writer, name, text, size);
}

static int keep_versions(struct bundle_maker *maker)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    struct utsname system;
    int r = object && uname(&system) >= 0 ? json_add_number(object, "made", maker->now)
                                          : -ENOMEM;
    const struct { const char *key, *text; } texts[] = {
        { "path", maker->argument },
        { "qcauditctl", PACKAGE_VERSION },
        { "qcauditd", maker->status ? row_raw(maker->status, "version") : NULL },
        { "kernel", system.release }, { "system", system.sysname }, { "machine", system.machine },
        { "host", system.nodename },
    };

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(texts); i++)
        r = json_add_text(object, texts[i].key, texts[i].text);
    if (r >= 0)
        r = json_add_number(object, "database-schema", CONTROL_DATABASE_VERSION);
    return r < 0 ? r : bundle_add_json(maker, "versions.json", object);
}

static const char readme[] =
    "Evidence of a disk image, written by qcauditctl evidence.\n"
    "\n"
    "Check it:\n"
    "    qcauditctl check --evidence FILE.tar\n"
    "verifies the manifest, and checks the tables that are here again. Without qcaudit:\n"
    "    tar -xf FILE.tar && cd " BUNDLE_FOLDER " && sha256sum -c " BUNDLE_MANIFEST "\n"
    "Whoever changes a member can write another manifest: compare the SHA-256 of\n"
    BUNDLE_MANIFEST " with the one that was printed when the archive was made.\n"
    "\n"
    "versions.json   the image's path, when and by what this was made\n"
    "layout.json     of each layer: path, owner, times, size, and how much is kept of it\n"
    "check.json      what a check of the image found, as of qcauditctl check --json\n"
    "layer-N/OFFSET  pieces of layer N (0: the image, 1: its parent, ...), called by\n"
    "                their offset in the file, in hexadecimal digits. Of the image: header,\n"
    "                refcount table and blocks, L1 and L2 tables, snapshot table, bitmaps; of\n"
    "                its parents: the header's cluster\n"
    "image.json      what qcauditd knows of the image: findings with evidence and remedy,\n"
    "                relations, users, contents; and if it was made of a finding, finding.json\n"
    "chain.json, domains.json, events.json, audits.json, readings.json\n"
    "                the chain; the domains that use the image, by libvirt; events (the newest\n"
    "                10,000, each with the digest of the record's chain), audits, readings\n"
    "record.json     how the record of events ends, and whether it is as it was written\n"
    "\n"
    "What is not there was not known. No guest data is copied, and no keys: not those of a LUKS\n"
    "header. Where a damaged entry takes guest data for a table, that cluster is here, too. The\n"
    "header of an image has the name of its parent, with whatever stands in that, and parents\n"
    "can be of other owners: look before this is given to others.\n";

int bundle_make(struct bundle_maker *maker, int fd, uint8_t ret_manifest[32])
{
    _cleanup_(json_object_putp) json_object *layout = json_object_new_object();
    int r = layout ? bundle_begin(fd, maker->now / USEC_PER_SEC, bundle_digest,
                                  &maker->writer)
                   : -ENOMEM;

    if (r >= 0)
        r = bundle_add(&maker->writer, BUNDLE_README, readme, strlen(readme));
    if (r >= 0)
        r = keep_versions(maker);
    if (r >= 0)
        r = bundle_layers(maker);
    if (r >= 0)
        r = bundle_known(maker);
    if (r >= 0)
        r = json_add(layout, "layers", json_object_get(maker->layers));
    if (r >= 0)
        r = json_add(layout, "not-answered", json_object_get(maker->missing));
    if (r >= 0)
        r = bundle_add_json(maker, BUNDLE_LAYOUT, layout);
    if (r >= 0)
        r = bundle_end(&maker->writer, ret_manifest);
    return r;
}
