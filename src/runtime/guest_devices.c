/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.devices of a hyperv container: what the host has to give becomes a disk of the machine. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/json.h"
#include "base/own.h"
#include "oci/devices.h"
#include "runtime/runtime.h"

/* A node with these numbers: where the bundle says, or where udev has them all. */
static char *find_node(const json_t *device)
{
	dev_t wanted = makedev((unsigned)json_int(device, "major", 0), (unsigned)json_int(device, "minor", 0));
	autofree char *by_number = xasprintf("/dev/block/%u:%u", major(wanted), minor(wanted));
	const char *const places[] = { json_str(device, "path", ""), by_number };
	struct stat st;

	for (size_t i = 0; i < array_len(places); i++) {
		if (!stat(places[i], &st) && S_ISBLK(st.st_mode) && st.st_rdev == wanted)
			return xstrdup(places[i]);
	}
	return NULL;
}

/* The rules that name the device by the host's numbers, which are something else in the guest, are taken out. Returns
 * what they allow; to be freed. */
static char *take_rules(json_t *rules, const json_t *device)
{
	char *access = NULL;

	for (size_t i = json_array_size(rules); i-- > 0;) {
		const json_t *rule = json_array_get(rules, i);

		if (strcmp(json_str(rule, "type", "a"), "b") != 0 ||
		    json_int(rule, "major", -1) != json_int(device, "major", 0) ||
		    json_int(rule, "minor", -1) != json_int(device, "minor", 0))
			continue;
		if (!access && json_bool(rule, "allow", false))
			access = xstrdup(json_str(rule, "access", "rwm"));
		json_array_remove(rules, i);
	}
	return access ? access : xstrdup("rwm");
}

static int give(json_t *device, json_t *rules, struct err *e)
{
	const char *type = json_str(device, "type", ""), *path = json_str(device, "path", "");
	autofree char *node = NULL, *access = NULL;

	if (!strcmp(type, "p") ||
	    oci_device_is_kernels(*type, json_int(device, "major", 0), json_int(device, "minor", 0)))
		return 0;
	if (strcmp(type, "b") != 0)
		return err_set(e, ERR_UNSUPPORTED, 0,
			       "%s: a virtual machine can be given block devices, not character devices of the host",
			       path);
	node = find_node(device);
	if (!node)
		return err_set(e, ERR_INVALID, 0, "%s: the host has no node of this block device", path);
	access = take_rules(rules, device);
	json_object_set_new(device, "source", json_string(node));
	json_object_set_new(device, "access", json_string(access));
	return 0;
}

int guest_devices_prepare(json_t *config, struct err *e)
{
	json_t *linux_part = json_object_get(config, "linux"), *device;
	json_t *rules = json_object_get(json_object_get(linux_part, "resources"), "devices");
	size_t i;

	json_array_foreach(json_object_get(linux_part, "devices"), i, device) {
		/* members of ours that let files be given as disks: not for bundles of others */
		json_object_del(device, "source");
		if (give(device, rules, e))
			return err_prefix(e, "linux.devices[%zu]", i);
	}
	return 0;
}
