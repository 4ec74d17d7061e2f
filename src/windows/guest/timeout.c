/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* timeout [/t] SECONDS [/nobreak]: also where stdin is no console, in which Windows' own refuses to work. */
#include <windows.h>

#include <conio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_MAX 99999
#define TICK_MS 100

int main(int argc, char **argv)
{
	HANDLE in = GetStdHandle(STD_INPUT_HANDLE);
	long seconds = -2;
	BOOL breakable = TRUE;
	DWORD mode;

	for (int i = 1; i < argc; i++) {
		if (!_stricmp(argv[i], "/nobreak"))
			breakable = FALSE;
		else if (_stricmp(argv[i], "/t") != 0)
			seconds = strtol(argv[i], NULL, 10);
	}
	if (seconds < -1 || seconds > SECONDS_MAX) {
		fprintf(stderr,
			"ERROR: Invalid value for timeout (/T) specified. Valid range is -1 to 99999 seconds.\n");
		return 1;
	}
	breakable = breakable && GetConsoleMode(in, &mode);
	printf(breakable ? "\nWaiting for %ld seconds, press a key to continue ...\n" : "\nWaiting for %ld seconds\n",
	       seconds);
	fflush(stdout);
	for (long long left = seconds * 1000LL; left > 0 || seconds == -1; left -= TICK_MS) {
		Sleep(TICK_MS);
		if (breakable && _kbhit()) {
			_getch();
			break;
		}
	}
	return 0;
}
