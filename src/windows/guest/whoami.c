/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* whoami [/user] [/groups] [/priv] [/all]: the user as the container has been started, in the words of Windows. */
#include <windows.h>

#include <stdio.h>
#include <string.h>

static const char *user_name(char *out, DWORD size)
{
	if (!GetEnvironmentVariableA("USERNAME", out, size))
		snprintf(out, size, "ContainerAdministrator");
	CharLowerA(out);
	return out;
}

/* SIDs of the container's accounts. Source: Microsoft, "Secure Windows containers". */
static const char *user_sid(const char *name)
{
	return strcmp(name, "containeruser") == 0 ? "S-1-5-93-2-2" : "S-1-5-93-2-1";
}

static void show_user(const char *name)
{
	printf("\nUSER INFORMATION\n----------------\n\n%-35s %s\n%-35s %s\nuser manager\\%-22s %s\n", "User Name",
	       "SID", "===================================", "============", name, user_sid(name));
}

static void show_privileges(void)
{
	BYTE buffer[4096];
	TOKEN_PRIVILEGES *p = (void *)buffer;
	HANDLE token;
	DWORD n;

	printf("\nPRIVILEGES INFORMATION\n----------------------\n\n%-41s State\n%-41s ========\n", "Privilege Name",
	       "=========================================");
	if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) ||
	    !GetTokenInformation(token, TokenPrivileges, p, sizeof(buffer), &n))
		return;
	for (DWORD i = 0; i < p->PrivilegeCount; i++) {
		char name[64] = "";

		n = sizeof(name);
		if (LookupPrivilegeNameA(NULL, &p->Privileges[i].Luid, name, &n))
			printf("%-41s %s\n", name,
			       p->Privileges[i].Attributes & SE_PRIVILEGE_ENABLED ? "Enabled" : "Disabled");
	}
}

static void show_groups(void)
{
	printf("\nGROUP INFORMATION\n-----------------\n\nWine has one user with all rights: group membership isn't "
	       "modelled.\n");
}

int main(int argc, char **argv)
{
	char name[128];
	BOOL all = argc > 1 && !_stricmp(argv[1], "/all");

	user_name(name, sizeof(name));
	if (argc < 2) {
		printf("user manager\\%s\n", name);
		return 0;
	}
	if (!all && _stricmp(argv[1], "/user") != 0 && _stricmp(argv[1], "/groups") != 0 &&
	    _stricmp(argv[1], "/priv") != 0) {
		fprintf(stderr, "ERROR: Invalid argument/option - '%s'.\n", argv[1]);
		return 1;
	}
	if (all || !_stricmp(argv[1], "/user"))
		show_user(name);
	if (all || !_stricmp(argv[1], "/groups"))
		show_groups();
	if (all || !_stricmp(argv[1], "/priv"))
		show_privileges();
	return 0;
}
