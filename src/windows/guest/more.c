/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* more: files or stdin, a page at a time where there is a console. */
#include <windows.h>

#include <conio.h>
#include <stdio.h>
#include <string.h>

static int page_lines(void)
{
	CONSOLE_SCREEN_BUFFER_INFO info;
	int rows;

	if (!GetConsoleScreenBufferInfo(GetStdHandle(STD_OUTPUT_HANDLE), &info))
		return 0;
	rows = info.srWindow.Bottom - info.srWindow.Top;
	return rows > 1 ? rows : 1;
}

/* Returns FALSE when the user has had enough. */
static BOOL wait_for_key(int *left, int page)
{
	int key;

	printf("-- More --");
	fflush(stdout);
	key = _getch();
	printf("\r          \r");
	if (key == 'q' || key == 'Q' || key == 3)
		return FALSE;
	*left = key == '\r' ? 1 : page;
	return TRUE;
}

static BOOL show(FILE *in, int page)
{
	char line[4096];
	int left = page;

	while (fgets(line, sizeof(line), in)) {
		fputs(line, stdout);
		if (!page || !strchr(line, '\n') || --left > 0)
			continue;
		if (!wait_for_key(&left, page))
			return FALSE;
	}
	return TRUE;
}

int main(int argc, char **argv)
{
	int page = page_lines(), files = 0;

	for (int i = 1; i < argc; i++) {
		FILE *in;

		if (argv[i][0] == '/')
			continue;
		files++;
		in = fopen(argv[i], "r");
		if (!in) {
			fprintf(stderr, "Cannot access file %s\n", argv[i]);
			return 1;
		}
		if (!show(in, page))
			return 0;
		fclose(in);
	}
	if (!files)
		show(stdin, page);
	return 0;
}
