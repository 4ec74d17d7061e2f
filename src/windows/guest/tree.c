/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tree [DIRECTORY] [/f] [/a] */
#include <windows.h>

#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 64

struct style {
	BOOL files;
	const char *middle, *last, *bar;
};

static void join(char *out, const char *directory, const char *name)
{
	snprintf(out, MAX_PATH, "%s%s%s", directory, directory[strlen(directory) - 1] == '\\' ? "" : "\\", name);
}

static BOOL next(HANDLE found, WIN32_FIND_DATAA *d, BOOL directories)
{
	while (FindNextFileA(found, d)) {
		BOOL is = (d->dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;

		if (is == directories && strcmp(d->cFileName, ".") != 0 && strcmp(d->cFileName, "..") != 0)
			return TRUE;
	}
	return FALSE;
}

/* The entry "." comes first, so that FindNextFile sees all others. */
static HANDLE begin(const char *directory, WIN32_FIND_DATAA *d)
{
	char pattern[MAX_PATH];

	join(pattern, directory, "*");
	return FindFirstFileA(pattern, d);
}

static void show_files(const char *directory, const char *indent)
{
	WIN32_FIND_DATAA d;
	HANDLE found = begin(directory, &d);

	if (found == INVALID_HANDLE_VALUE)
		return;
	while (next(found, &d, FALSE))
		printf("%s    %s\n", indent, d.cFileName);
	FindClose(found);
}

static void show(const char *directory, const char *indent, int depth, const struct style *s)
{
	char below[DEPTH_MAX * 8], path[MAX_PATH];
	WIN32_FIND_DATAA d, following;
	HANDLE found = begin(directory, &d);
	BOOL more = found != INVALID_HANDLE_VALUE && next(found, &d, TRUE);

	if (s->files)
		show_files(directory, indent);
	while (more && depth < DEPTH_MAX) {
		more = next(found, &following, TRUE);
		printf("%s%s%s\n", indent, more ? s->middle : s->last, d.cFileName);
		snprintf(below, sizeof(below), "%s%s", indent, more ? s->bar : "    ");
		join(path, directory, d.cFileName);
		show(path, below, depth + 1, s);
		d = following;
	}
	if (found != INVALID_HANDLE_VALUE)
		FindClose(found);
}

int main(int argc, char **argv)
{
	struct style s = { FALSE, "\xC3\xC4\xC4\xC4", "\xC0\xC4\xC4\xC4", "\xB3   " };
	char directory[MAX_PATH] = ".";

	for (int i = 1; i < argc; i++) {
		if (!_stricmp(argv[i], "/f"))
			s.files = TRUE;
		else if (!_stricmp(argv[i], "/a"))
			s = (struct style){ s.files, "+---", "\\---", "|   " };
		else
			snprintf(directory, sizeof(directory), "%s", argv[i]);
	}
	if (GetFileAttributesA(directory) == INVALID_FILE_ATTRIBUTES) {
		printf("Invalid path - %s\n", directory);
		return 1;
	}
	GetFullPathNameA(directory, sizeof(directory), directory, NULL);
	printf("Folder PATH listing\n%s\n", directory);
	show(directory, "", 0, &s);
	return 0;
}
