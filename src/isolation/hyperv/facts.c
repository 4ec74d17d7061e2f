/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/facts.h"

#include <fcntl.h>
#include <string.h>

#include "base/json.h"
#include "base/own.h"

int facts_parse(json_t *doc, struct vm_facts *f, struct err *e)
{
	*f = (struct vm_facts){
		.accelerator = json_str(doc, "accelerator", NULL),
		.cpu = json_str(doc, "cpu", NULL),
		.append = json_str(doc, "append", NULL),
		.memory_mib = json_int(doc, "memory_mib", 0),
		.cpus = json_int(doc, "cpus", 0),
	};
	if (json_int(doc, "layout", 0) != TEMPLATE_LAYOUT)
		return err_set(e, ERR_INVALID, 0, "VM template: made by another version");
	if (!f->accelerator || !f->cpu || !f->append || f->memory_mib <= 0 || f->cpus <= 0)
		return err_set(e, ERR_INVALID, 0, "VM template: incomplete description");
	f->doc = doc;
	return 0;
}

int facts_load(const char *dir, struct vm_facts *f, struct err *e)
{
	autofree char *path = xasprintf("%s/" TEMPLATE_FACTS_FILE, dir);
	json_t *doc = json_parse_file(AT_FDCWD, path, FACTS_BYTES_MAX, e);

	*f = (struct vm_facts){ 0 };
	if (!doc) {
		if (e->kind == ERR_NOT_FOUND)
			e->kind = ERR_UNAVAILABLE;
		return err_prefix(e, "VM template");
	}
	if (facts_parse(doc, f, e)) {
		json_decref(doc);
		*f = (struct vm_facts){ 0 };
		return -1;
	}
	return 0;
}

void facts_fini(struct vm_facts *f)
{
	json_decref(f->doc);
	*f = (struct vm_facts){ 0 };
}
