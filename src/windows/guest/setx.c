/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* setx NAME VALUE [/m]: a variable for all programs to come, of this user or, with /m, of the machine. */
#include <windows.h>

#include <stdio.h>

#define MACHINE_KEY L"System\\CurrentControlSet\\Control\\Session Manager\\Environment"
#define VALUE_CHARS_MAX 1024 /* Windows' own limit */

int wmain(int argc, WCHAR **argv)
{
	const WCHAR *words[2] = { NULL, NULL };
	BOOL machine = FALSE;
	LSTATUS status;
	int n = 0;
	HKEY key;

	for (int i = 1; i < argc; i++) {
		if (!_wcsicmp(argv[i], L"/m")) {
			machine = TRUE;
		} else if (argv[i][0] == '/' && n < 1) {
			fprintf(stderr, "ERROR: Invalid argument/option - '%ls'.\nType \"SETX /?\" for usage.\n",
				argv[i]);
			return 1;
		} else if (n < 2) {
			words[n++] = argv[i];
		} else {
			n = 0;
			break;
		}
	}
	if (n != 2) {
		fprintf(stderr, "ERROR: Invalid syntax.\nType \"SETX /?\" for usage.\n");
		return 1;
	}
	if (wcslen(words[1]) > VALUE_CHARS_MAX) {
		fprintf(stderr, "ERROR: The data being saved is longer than %d characters.\n", VALUE_CHARS_MAX);
		return 1;
	}
	status = RegCreateKeyExW(machine ? HKEY_LOCAL_MACHINE : HKEY_CURRENT_USER,
				 machine ? MACHINE_KEY : L"Environment", 0, NULL, 0, KEY_SET_VALUE, NULL, &key, NULL);
	if (!status)
		status = RegSetValueExW(key, words[0], 0, wcschr(words[1], '%') ? REG_EXPAND_SZ : REG_SZ,
					(const BYTE *)words[1], (DWORD)((wcslen(words[1]) + 1) * sizeof(WCHAR)));
	if (status) {
		fprintf(stderr, "ERROR: Access to the registry path is denied.\n");
		return 1;
	}
	printf("\nSUCCESS: Specified value was saved.\n");
	return 0;
}
