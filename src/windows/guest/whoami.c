/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* whoami [/user] [/groups] [/priv] [/all] [/fo table|list|csv] [/nh]: the user as the container has been started, in the
 * words of Windows. */
#include <windows.h>

#include <sddl.h>
#include <stdio.h>
#include <string.h>

#include "windows/guest/rows.h"

enum { SHOW_USER = 1, SHOW_GROUPS = 2, SHOW_PRIVILEGES = 4 };

#define TOKEN_BYTES 8192

static const struct rows_column user_columns[] = { { "User Name", 35, FALSE }, { "SID", 12, FALSE } };
static const struct rows_column group_columns[] = {
	{ "Group Name", 38, FALSE }, { "Type", 16, FALSE }, { "SID", 44, FALSE }, { "Attributes", 50, FALSE }
};
static const struct rows_column privilege_columns[] = { { "Privilege Name", 41, FALSE },
							{ "Description", 64, FALSE },
							{ "State", 8, FALSE } };

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

static void begin(struct rows *r, const char *title, const struct rows_column *columns, int n)
{
	r->columns = columns;
	r->n = n;
	r->printed = 0;
	if (r->format == ROWS_CSV || r->no_header)
		return;
	printf("\n%s\n", title);
	for (size_t i = 0; i < strlen(title); i++)
		printf("-");
	printf("\n");
}

static void show_user(struct rows *r, const char *name)
{
	char whole[160];
	const char *const values[] = { whole, user_sid(name) };

	snprintf(whole, sizeof(whole), "user manager\\%s", name);
	begin(r, "USER INFORMATION", user_columns, 2);
	rows_print(r, values);
}

static BOOL token_information(TOKEN_INFORMATION_CLASS what, void *out)
{
	HANDLE token;
	DWORD n;
	BOOL ok;

	if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
		return FALSE;
	ok = GetTokenInformation(token, what, out, TOKEN_BYTES, &n);
	CloseHandle(token);
	return ok;
}

static const char *group_type(SID_NAME_USE use)
{
	static const char *const names[] = {
		"Unknown SID type", "User", "Group", "Domain", "Alias", "Well-known group"
	};

	return use < (int)(sizeof(names) / sizeof(names[0])) ? names[use] : use == SidTypeLabel ? "Label" : names[0];
}

static void show_groups(struct rows *r)
{
	char buffer[TOKEN_BYTES];
	const TOKEN_GROUPS *groups = (void *)buffer;

	begin(r, "GROUP INFORMATION", group_columns, 4);
	if (!token_information(TokenGroups, buffer))
		return;
	for (DWORD i = 0; i < groups->GroupCount; i++) {
		char name[128] = "", domain[128] = "", whole[260], *sid = NULL;
		DWORD n = sizeof(name), m = sizeof(domain), attributes = groups->Groups[i].Attributes;
		SID_NAME_USE use = SidTypeUnknown;

		if (!ConvertSidToStringSidA(groups->Groups[i].Sid, &sid))
			continue;
		LookupAccountSidA(NULL, groups->Groups[i].Sid, name, &n, domain, &m, &use);
		snprintf(whole, sizeof(whole), "%s%s%s", domain, *domain && *name ? "\\" : "", name);
		rows_print(r, (const char *const[]){ whole, group_type(use), sid,
						     attributes & SE_GROUP_ENABLED
							     ? "Mandatory group, Enabled by default, Enabled group"
							     : "" });
		LocalFree(sid);
	}
}

/* Wine has no texts for them. Source: Microsoft, "Privilege Constants". */
static const char *privilege_text(const char *name)
{
	static const struct {
		const char *name, *text;
	} texts[] = { { "SeChangeNotifyPrivilege", "Bypass traverse checking" },
		      { "SeTcbPrivilege", "Act as part of the operating system" },
		      { "SeSecurityPrivilege", "Manage auditing and security log" },
		      { "SeBackupPrivilege", "Back up files and directories" },
		      { "SeRestorePrivilege", "Restore files and directories" },
		      { "SeSystemtimePrivilege", "Change the system time" },
		      { "SeShutdownPrivilege", "Shut down the system" },
		      { "SeRemoteShutdownPrivilege", "Force shutdown from a remote system" },
		      { "SeTakeOwnershipPrivilege", "Take ownership of files or other objects" },
		      { "SeDebugPrivilege", "Debug programs" },
		      { "SeSystemEnvironmentPrivilege", "Modify firmware environment values" },
		      { "SeSystemProfilePrivilege", "Profile system performance" },
		      { "SeProfileSingleProcessPrivilege", "Profile single process" },
		      { "SeIncreaseBasePriorityPrivilege", "Increase scheduling priority" },
		      { "SeLoadDriverPrivilege", "Load and unload device drivers" },
		      { "SeCreatePagefilePrivilege", "Create a pagefile" },
		      { "SeIncreaseQuotaPrivilege", "Adjust memory quotas for a process" },
		      { "SeUndockPrivilege", "Remove computer from docking station" },
		      { "SeManageVolumePrivilege", "Perform volume maintenance tasks" },
		      { "SeImpersonatePrivilege", "Impersonate a client after authentication" },
		      { "SeCreateGlobalPrivilege", "Create global objects" } };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(texts[i].name, name))
			return texts[i].text;
	return "";
}

static void show_privileges(struct rows *r)
{
	char buffer[TOKEN_BYTES];
	const TOKEN_PRIVILEGES *p = (void *)buffer;

	begin(r, "PRIVILEGES INFORMATION", privilege_columns, 3);
	if (!token_information(TokenPrivileges, buffer))
		return;
	for (DWORD i = 0; i < p->PrivilegeCount; i++) {
		char name[64] = "";
		DWORD n = sizeof(name);
		LUID id = p->Privileges[i].Luid;

		if (!LookupPrivilegeNameA(NULL, &id, name, &n))
			continue;
		rows_print(r, (const char *const[]){ name, privilege_text(name),
						     p->Privileges[i].Attributes & SE_PRIVILEGE_ENABLED ? "Enabled"
													: "Disabled" });
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *option;
		int shows;
	} options[] = { { "/user", SHOW_USER },
			{ "/groups", SHOW_GROUPS },
			{ "/priv", SHOW_PRIVILEGES },
			{ "/all", SHOW_USER | SHOW_GROUPS | SHOW_PRIVILEGES } };
	struct rows r = { 0 };
	int shows = 0;
	char name[128];

	user_name(name, sizeof(name));
	for (int i = 1; i < argc; i++) {
		int before = shows;

		for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++)
			if (!_stricmp(argv[i], options[k].option))
				shows |= options[k].shows;
		if (!_stricmp(argv[i], "/nh")) {
			r.no_header = TRUE;
		} else if (!_stricmp(argv[i], "/fo") && i + 1 < argc && rows_parse_format(argv[i + 1], &r.format)) {
			i++;
		} else if (shows == before) {
			fprintf(stderr, "ERROR: Invalid argument/option - '%s'.\nType \"WHOAMI /?\" for usage.\n",
				argv[i]);
			return 1;
		}
	}
	if (!shows)
		printf("user manager\\%s\n", name);
	if (shows & SHOW_USER)
		show_user(&r, name);
	if (shows & SHOW_GROUPS)
		show_groups(&r);
	if (shows & SHOW_PRIVILEGES)
		show_privileges(&r);
	return 0;
}
