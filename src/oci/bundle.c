/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oci/bundle.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/own.h"
#include "oci/reader.h"
#include "os/seccomp.h"

#define CONFIG_BYTES_MAX (4 * MIB)
#define SECCOMP_BYTES_MAX (64 * KIB)

/* Ids become parts of paths and of cgroup names. */
static int check_id(const char *id, struct err *e)
{
	size_t n = strlen(id);

	if (!n || n > CONTAINER_ID_MAX || !isalnum((unsigned char)id[0]))
		return err_set(e, ERR_INVALID, 0, "id: \"%.140s\"", id);
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)id[i]) && !strchr("_.+-", id[i]))
			return err_set(e, ERR_INVALID, 0, "id: \"%s\"", id);
	}
	return 0;
}

static int parse_rootfs(struct bundle *b, struct err *e)
{
	struct rootfs *r = &b->rootfs;
	json_t *j;

	if (json_get_object(b->silo, "rootfs", &j, e))
		return -1;
	if (json_get_str(j, "path", NULL, &r->path, e) || json_get_str(j, "upper", NULL, &r->upper, e) ||
	    json_get_str(j, "work", NULL, &r->work, e) || json_get_str(j, "image", NULL, &r->image, e) ||
	    json_get_str(j, "disk", NULL, &r->disk, e) || json_get_bool(j, "volatile", false, &r->is_volatile, e) ||
	    read_strings(j, "layers", &r->layers, &r->n_layers, e))
		return err_prefix(e, "rootfs");
	if (!r->path && !r->n_layers && !r->image)
		return err_set(e, ERR_INVALID, 0, "rootfs: one of path, layers and image is needed");
	if (r->n_layers && (!r->upper || !r->work))
		return err_set(e, ERR_INVALID, 0, "rootfs: layers need upper and work");
	return 0;
}

static int parse_file(const json_t *j, void *arg, struct err *e)
{
	struct bundle *b = arg;
	struct bundle_file *f = &b->files[b->n_files++];

	if (json_get_str(j, "destination", "", &f->destination, e) || json_get_str(j, "source", NULL, &f->source, e) ||
	    json_get_str(j, "data", NULL, &f->data, e))
		return -1;
	if (f->destination[0] != '/')
		return err_set(e, ERR_INVALID, 0, "destination: \"%s\" is not an absolute path", f->destination);
	if (!f->source == !f->data)
		return err_set(e, ERR_INVALID, 0, "one of source and data is needed");
	return 0;
}

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Decode padded base64 into b->seccomp. */
static int decode_seccomp(struct bundle *b, const char *text, struct err *e)
{
	size_t n = strlen(text);
	uint32_t bits = 0;
	unsigned have = 0;

	while (n && text[n - 1] == '=')
		n--;
	if (n > SECCOMP_BYTES_MAX * 4 / 3 + 4)
		return err_set(e, ERR_LIMIT, 0, "seccomp_data is too long");
	b->seccomp = xmalloc(n * 3 / 4 + 3);
	for (size_t i = 0; i < n; i++) {
		int d = base64_digit(text[i]);

		if (d < 0)
			return err_set(e, ERR_INVALID, 0, "seccomp_data: not base64");
		bits = bits << 6 | (uint32_t)d;
		have += 6;
		if (have >= 8) {
			have -= 8;
			b->seccomp[b->seccomp_bytes++] = (unsigned char)(bits >> have);
		}
	}
	return 0;
}

static int read_seccomp(struct bundle *b, const char *path, struct err *e)
{
	autostr file;

	str_init(&file, SECCOMP_BYTES_MAX);
	if (io_read_file(AT_FDCWD, path, &file, e))
		return err_prefix(e, "seccomp");
	b->seccomp_bytes = file.len;
	b->seccomp = (unsigned char *)str_take(&file);
	return 0;
}

static int parse_seccomp(struct bundle *b, struct err *e)
{
	const char *path, *data;
	int64_t flags;

	if (read_int(b->silo, "seccomp_flags", 0, 0, UINT32_MAX, &flags, e) ||
	    json_get_bool(b->silo, "seccomp_asks", false, &b->seccomp_asks, e))
		return -1;
	b->seccomp_flags = (unsigned)flags;
	if (json_get_str(b->silo, "seccomp", NULL, &path, e) || json_get_str(b->silo, "seccomp_data", NULL, &data, e))
		return -1;
	if (!path && !data)
		return 0;
	/* data wins: a guest has no use for the host's path */
	if (data ? decode_seccomp(b, data, e) : read_seccomp(b, path, e))
		return -1;
	if (!seccomp_is_filter(b->seccomp_bytes))
		return err_set(e, ERR_INVALID, 0, "seccomp: %zu bytes are no filter", b->seccomp_bytes);
	return 0;
}

static int parse(struct bundle *b, struct err *e)
{
	const char *id;

	b->spec = oci_spec_parse(b->config, e);
	if (!b->spec)
		return err_prefix(e, "config.json");
	if (json_get_str(b->silo, "id", "", &id, e) || check_id(id, e) ||
	    json_get_str(b->silo, "isolation", "process", &b->isolation, e))
		return err_prefix(e, "silo.json");
	strcpy(b->id, id);
	b->files = xcalloc(read_count(b->silo, "files") + 1, sizeof(*b->files));
	if (parse_rootfs(b, e) || read_each(b->silo, "files", parse_file, b, e) ||
	    json_get_bool(b->silo, "files_only", false, &b->files_only, e) ||
	    json_get_str(b->silo, "init", NULL, &b->init_path, e) || parse_seccomp(b, e))
		return err_prefix(e, "silo.json");
	if (b->init_path && !*b->init_path)
		b->init_path = NULL;
	return 0;
}

struct bundle *bundle_new(json_t *config, json_t *silo, struct err *e)
{
	struct bundle *b = xcalloc(1, sizeof(*b));

	b->config = json_incref(config);
	b->silo = json_incref(silo);
	if (parse(b, e)) {
		bundle_free(b);
		return NULL;
	}
	/* success: the caller's references are ours */
	json_decref(config);
	json_decref(silo);
	return b;
}

struct bundle *bundle_load(const char *dir, struct err *e)
{
	autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autojson *config = NULL;
	autojson *silo = NULL;
	struct bundle *b;

	if (fd < 0) {
		err_set(e, ERR_SYSTEM, errno, "open bundle %s", dir);
		return NULL;
	}
	config = json_parse_file(fd, "config.json", CONFIG_BYTES_MAX, e);
	silo = config ? json_parse_file(fd, "silo.json", CONFIG_BYTES_MAX, e) : NULL;
	b = silo ? bundle_new(config, silo, e) : NULL;
	if (!b) {
		err_prefix(e, "bundle %s", dir);
		return NULL;
	}
	config = silo = NULL;
	b->dir = xstrdup(dir);
	return b;
}

void bundle_free(struct bundle *b)
{
	if (!b)
		return;
	oci_spec_free(b->spec);
	json_decref(b->config);
	json_decref(b->silo);
	free(b->dir);
	free(b->rootfs.layers);
	free(b->files);
	free(b->seccomp);
	free(b);
}
