/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "volume/local.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/json.h"
#include "base/own.h"
#include "base/str.h"
#include "volume/volume.h"

static const struct {
	const char *word;
	unsigned long set, clear;
} flag_words[] = {
	{ "defaults", 0, 0 },
	{ "ro", MS_RDONLY, 0 },
	{ "rw", 0, MS_RDONLY },
	{ "bind", MS_BIND, 0 },
	{ "rbind", MS_BIND | MS_REC, 0 },
	{ "nosuid", MS_NOSUID, 0 },
	{ "suid", 0, MS_NOSUID },
	{ "nodev", MS_NODEV, 0 },
	{ "dev", 0, MS_NODEV },
	{ "noexec", MS_NOEXEC, 0 },
	{ "exec", 0, MS_NOEXEC },
	{ "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS },
	{ "noatime", MS_NOATIME, 0 },
	{ "nodiratime", MS_NODIRATIME, 0 },
	{ "relatime", MS_RELATIME, 0 },
	{ "strictatime", MS_STRICTATIME, 0 },
};

int volume_check_options(const json_t *options, struct err *e)
{
	static const char *const known[] = { "type", "o", "device" };
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)options, key, value) {
		bool found = false;

		for (size_t i = 0; i < array_len(known); i++)
			found |= strcmp(known[i], key) == 0;
		if (!found)
			return err_set(e, ERR_INVALID, 0, "invalid option: \"%.100s\"", key);
		if (!json_is_string(value))
			return err_set(e, ERR_INVALID, 0, "invalid option: \"%.100s\": expected string", key);
	}
	if (!json_object_size(options))
		return 0;
	if (!*json_str(options, "device", ""))
		return err_set(e, ERR_INVALID, 0, "missing required option: \"device\"");
	if (!*json_str(options, "type", "") && !strstr(json_str(options, "o", ""), "bind"))
		return err_set(e, ERR_INVALID, 0, "missing required option: \"type\"");
	return 0;
}

/* "addr=HOST": the kernel's network file systems take numbers only. */
static int add_address(const char *host, struct str *data, struct err *e)
{
	struct addrinfo *found = NULL;
	char text[INET6_ADDRSTRLEN];
	int rc = getaddrinfo(host, NULL, NULL, &found);

	if (rc == 0)
		rc = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	if (found)
		freeaddrinfo(found);
	if (rc)
		return err_set(e, ERR_INVALID, 0, "error resolving passed in network volume address: %s: %s", host,
			       gai_strerror(rc));
	str_printf(data, "%saddr=%s", data->len ? "," : "", text);
	return 0;
}

/* Words that are flags go into *flags, the rest is the file system's. */
static int sort_options(const char *o, unsigned long *flags, struct str *data, struct err *e)
{
	autofree char *copy = xstrdup(o);
	char *rest = copy, *word;

	while ((word = strsep(&rest, ","))) {
		size_t i;

		for (i = 0; i < array_len(flag_words) && strcmp(flag_words[i].word, word) != 0; i++)
			;
		if (i < array_len(flag_words))
			*flags = (*flags | flag_words[i].set) & ~flag_words[i].clear;
		else if (str_starts(word, "addr=") && add_address(word + strlen("addr="), data, e) < 0)
			return -1;
		else if (*word && !str_starts(word, "addr="))
			str_printf(data, "%s%s", data->len ? "," : "", word);
	}
	return 0;
}

/* Options as they may be shown: cifs has its password among them. */
static char *without_password(const char *data)
{
	static const char key[] = "password=";
	const char *at = strstr(data, key);

	if (!at)
		return xstrdup(data);
	return xasprintf("%.*s%s********%s", (int)(at - data), data, key, at + strcspn(at, ","));
}

/* As Docker says it. */
static int mount_failed(const char *device, const char *path, unsigned long flags, const char *data, int sys,
			struct err *e)
{
	autofree char *shown = without_password(data), *why = xstrdup(strerror(sys));
	char bits[32] = "";

	why[0] = (char)tolower((unsigned char)why[0]);
	if (flags)
		snprintf(bits, sizeof(bits), ", flags: 0x%lx", flags);
	return err_set(e, ERR_SYSTEM, 0, "failed to mount local volume: mount %s:%s%s%s%s: %s", device, path, bits,
		       *shown ? ", data: " : "", shown, why);
}

int local_mount(const json_t *options, const char *path, struct err *e)
{
	const char *device = json_str(options, "device", ""), *type = json_str(options, "type", "");
	unsigned long flags = 0;
	autostr data;

	str_init(&data, 4000);
	if (sort_options(json_str(options, "o", ""), &flags, &data, e) < 0)
		return -1;
	if (data.full)
		return err_set(e, ERR_LIMIT, 0, "failed to mount local volume: options are too long");
	if (mount(device, path, *type ? type : "none", flags, data.s ? data.s : "") < 0)
		return mount_failed(device, path, flags, data.s ? data.s : "", errno, e);
	/* A bind takes attributes in a second call only. */
	if (flags & MS_BIND && flags & ~(unsigned long)(MS_BIND | MS_REC) &&
	    mount(NULL, path, NULL, flags | MS_REMOUNT, NULL) < 0) {
		err_set(e, ERR_SYSTEM, errno, "failed to mount local volume: remount %s", path);
		umount2(path, MNT_DETACH);
		return -1;
	}
	return 0;
}
