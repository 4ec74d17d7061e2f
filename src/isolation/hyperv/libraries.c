/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/libraries.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "base/str.h"
#include "isolation/hyperv/capture.h"

#define LISTING_BYTES_MAX (64 * KIB)
#define INTERPRETER_MAX 256

/* The dynamic linker named in an ELF file's PT_INTERP. 0 and out = "" for a static program. */
static int read_interpreter(const char *program, char out[static INTERPRETER_MAX], struct err *e)
{
	autoclose int fd = open(program, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr header;
	Elf64_Phdr part;

	out[0] = '\0';
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, errno, "open %s", program);
	if (pread(fd, &header, sizeof header, 0) != sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(e, ERR_INVALID, 0, "%s: not a 64-bit program", program);
	for (unsigned i = 0; i < header.e_phnum; i++) {
		off_t at = (off_t)(header.e_phoff + (uint64_t)i * sizeof part);

		if (pread(fd, &part, sizeof part, at) != sizeof part)
			return err_set(e, ERR_INVALID, 0, "%s: cut off", program);
		if (part.p_type != PT_INTERP)
			continue;
		if (part.p_filesz < 2 || part.p_filesz > INTERPRETER_MAX ||
		    pread(fd, out, part.p_filesz, (off_t)part.p_offset) != (ssize_t)part.p_filesz)
			return err_set(e, ERR_INVALID, 0, "%s: bad interpreter", program);
		out[part.p_filesz - 1] = '\0';
	}
	return 0;
}

json_t *libraries_of(const char *program, struct err *e)
{
	autofree char *resolved = realpath(program, NULL);
	char linker[INTERPRETER_MAX];
	const char *argv[] = { linker, NULL, NULL };
	const char *const envp[] = { "LD_TRACE_LOADED_OBJECTS=1", "LC_ALL=C", NULL };
	autostr text;
	json_t *list;
	char *line, *rest;

	str_init(&text, LISTING_BYTES_MAX);
	if (read_interpreter(program, linker, e))
		return NULL;
	list = json_array();
	if (!linker[0])
		return list;
	json_array_append_new(list, json_string(linker));
	argv[1] = resolved ? resolved : program;
	if (capture_output(argv, envp, &text, e)) {
		json_decref(list);
		return NULL;
	}
	/* "\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x...)", and lines without a file, e.g. the vdso */
	for (line = strtok_r(text.s, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *path = strstr(line, " => /"), *end;

		if (!path)
			continue;
		path += strlen(" => ");
		end = strstr(path, " (0x");
		if (end)
			*end = '\0';
		if (strcmp(path, linker))
			json_array_append_new(list, json_string(path));
	}
	return list;
}
