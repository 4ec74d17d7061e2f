/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* icacls NAME [/t] [/q]: who may do what with a file, as Wine sees it. Changing that isn't possible, and is refused. */
#include <windows.h>

#include <aclapi.h>
#include <sddl.h>
#include <stdio.h>
#include <string.h>

struct icacls {
	BOOL below, quiet;
	unsigned done, failed;
	DWORD error;
};

/* What has a letter of its own. Source: Microsoft, "icacls". */
static const struct {
	DWORD mask;
	const char *letters;
} simple[] = { { FILE_ALL_ACCESS, "F" },
	       { FILE_GENERIC_READ | FILE_GENERIC_WRITE | FILE_GENERIC_EXECUTE | DELETE, "M" },
	       { FILE_GENERIC_READ | FILE_GENERIC_EXECUTE, "RX" },
	       { FILE_GENERIC_READ | FILE_GENERIC_WRITE, "R,W" },
	       { FILE_GENERIC_READ, "R" },
	       { FILE_GENERIC_WRITE, "W" },
	       { DELETE, "D" },
	       { 0, "N" } };

static const struct {
	DWORD bit;
	const char *letters;
} specific[] = { { DELETE, "DE" },
		 { READ_CONTROL, "Rc" },
		 { WRITE_DAC, "WDAC" },
		 { WRITE_OWNER, "WO" },
		 { SYNCHRONIZE, "S" },
		 { ACCESS_SYSTEM_SECURITY, "AS" },
		 { MAXIMUM_ALLOWED, "MA" },
		 { GENERIC_READ, "GR" },
		 { GENERIC_WRITE, "GW" },
		 { GENERIC_EXECUTE, "GE" },
		 { GENERIC_ALL, "GA" },
		 { FILE_READ_DATA, "RD" },
		 { FILE_WRITE_DATA, "WD" },
		 { FILE_APPEND_DATA, "AD" },
		 { FILE_READ_EA, "REA" },
		 { FILE_WRITE_EA, "WEA" },
		 { FILE_EXECUTE, "X" },
		 { FILE_DELETE_CHILD, "DC" },
		 { FILE_READ_ATTRIBUTES, "RA" },
		 { FILE_WRITE_ATTRIBUTES, "WA" } };

static const struct {
	BYTE bit;
	const char *letters;
} inheritance[] = { { INHERITED_ACE, "(I)" },
		    { OBJECT_INHERIT_ACE, "(OI)" },
		    { CONTAINER_INHERIT_ACE, "(CI)" },
		    { INHERIT_ONLY_ACE, "(IO)" },
		    { NO_PROPAGATE_INHERIT_ACE, "(NP)" } };

static void show_account(PSID sid)
{
	char name[256], domain[256], *text = NULL;
	DWORD n = sizeof(name), m = sizeof(domain);
	SID_NAME_USE use;

	if (LookupAccountSidA(NULL, sid, name, &n, domain, &m, &use)) {
		printf("%s%s%s:", domain, *domain ? "\\" : "", name);
	} else if (ConvertSidToStringSidA(sid, &text)) {
		printf("%s:", text);
		LocalFree(text);
	}
}

static void show_rights(DWORD mask)
{
	const char *separator = "";

	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
		if (simple[i].mask == mask) {
			printf("(%s)", simple[i].letters);
			return;
		}
	}
	printf("(");
	for (size_t i = 0; i < sizeof(specific) / sizeof(specific[0]); i++) {
		if (!(mask & specific[i].bit))
			continue;
		printf("%s%s", separator, specific[i].letters);
		separator = ",";
	}
	printf(")");
}

/* Allowing and denying entries have the same layout. */
static void show_entry(const ACCESS_ALLOWED_ACE *ace)
{
	show_account((PSID)(uintptr_t)&ace->SidStart);
	for (size_t i = 0; i < sizeof(inheritance) / sizeof(inheritance[0]); i++)
		if (ace->Header.AceFlags & inheritance[i].bit)
			printf("%s", inheritance[i].letters);
	if (ace->Header.AceType == ACCESS_DENIED_ACE_TYPE)
		printf("(DENY)");
	show_rights(ace->Mask);
	printf("\n");
}

static void show_list(const char *path, PACL dacl)
{
	void *ace;

	printf("%s ", path);
	if (!dacl)
		printf("Everyone:(F)\n");
	for (DWORD i = 0; dacl && GetAce(dacl, i, &ace); i++) {
		if (i)
			printf("%*s", (int)strlen(path) + 1, "");
		show_entry(ace);
	}
	printf(dacl && !dacl->AceCount ? "\n\n" : "\n");
}

static void show(struct icacls *c, const char *path)
{
	PSECURITY_DESCRIPTOR descriptor = NULL;
	char text[512] = "";
	DWORD error;
	PACL dacl;

	error = GetNamedSecurityInfoA((char *)(uintptr_t)path, SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL, NULL,
				      &dacl, NULL, &descriptor);
	if (!error) {
		c->done++;
		show_list(path, dacl);
		LocalFree(descriptor);
		return;
	}
	c->failed++;
	c->error = error;
	FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, text, sizeof(text),
		       NULL);
	fprintf(stderr, "%s: %s", path, text);
}

/* All that fits the pattern; with /t also in the directories below. */
static void show_matching(struct icacls *c, const char *pattern)
{
	const char *slash = strrchr(pattern, '\\'), *name = slash ? slash + 1 : pattern;
	char path[MAX_PATH], all[MAX_PATH];
	WIN32_FIND_DATAA d;
	HANDLE found;

	snprintf(all, sizeof(all), "%.*s%s", (int)(name - pattern), pattern, c->below ? "*" : name);
	found = FindFirstFileA(all, &d);
	for (BOOL more = found != INVALID_HANDLE_VALUE; more; more = FindNextFileA(found, &d)) {
		if (!strcmp(d.cFileName, ".") || !strcmp(d.cFileName, ".."))
			continue;
		snprintf(path, sizeof(path), "%.*s%s", (int)(name - pattern), pattern, d.cFileName);
		show(c, path);
		if (c->below && d.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) {
			snprintf(path, sizeof(path), "%.*s%s\\*", (int)(name - pattern), pattern, d.cFileName);
			show_matching(c, path);
		}
	}
	if (found != INVALID_HANDLE_VALUE)
		FindClose(found);
}

static void show_named(struct icacls *c, char *path)
{
	size_t n = strlen(path);
	char below[MAX_PATH];

	for (char *at = path; *at; at++)
		if (*at == '/')
			*at = '\\';
	if (strpbrk(path, "*?")) {
		show_matching(c, path);
		return;
	}
	show(c, path);
	if (c->below && !c->failed) {
		snprintf(below, sizeof(below), "%s%s*", path, n && path[n - 1] == '\\' ? "" : "\\");
		show_matching(c, below);
	}
}

int main(int argc, char **argv)
{
	struct icacls c = { 0 };

	if (argc < 2 || !strcmp(argv[1], "/?")) {
		printf("ICACLS name [/T] [/C] [/Q]\n    shows the access list of a file or directory, /T of all below it, too\n");
		return argc < 2;
	}
	for (int i = 2; i < argc; i++) {
		if (!_stricmp(argv[i], "/t")) {
			c.below = TRUE;
		} else if (!_stricmp(argv[i], "/q")) {
			c.quiet = TRUE;
		} else if (_stricmp(argv[i], "/c") != 0) {
			fprintf(stderr,
				"icacls: %s isn't possible in the Windows base of Silo: Wine keeps no access lists, "
				"those that it shows are made from the file's mode\n",
				argv[i]);
			return 1;
		}
	}
	show_named(&c, argv[1]);
	if (!c.quiet || c.failed)
		printf("Successfully processed %u files; Failed processing %u files\n", c.done, c.failed);
	return (int)c.error;
}
