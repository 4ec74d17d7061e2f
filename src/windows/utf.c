/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "windows/utf.h"

static bool is_more(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

size_t utf_decode(const char *text, uint32_t *c)
{
	const unsigned char *p = (const unsigned char *)text;

	*c = p[0];
	if (p[0] >= 0xc2 && p[0] < 0xe0 && is_more(text[1])) {
		*c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
		return 2;
	}
	if (p[0] >= 0xe0 && p[0] < 0xf0 && is_more(text[1]) && is_more(text[2])) {
		*c = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] < 0xf5 && is_more(text[1]) && is_more(text[2]) && is_more(text[3])) {
		*c = (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
		if (*c >= 0x10000 && *c < 0x110000)
			return 4;
		*c = p[0];
	}
	return 1;
}

void utf_add(struct str *out, uint32_t c)
{
	char b[4] = { (char)c };

	if (c < 0x80) {
		str_add(out, b, 1);
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		str_add(out, b, 2);
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		str_add(out, b, 3);
	} else {
		b[0] = (char)(0xf0 | c >> 18);
		b[1] = (char)(0x80 | (c >> 12 & 0x3f));
		b[2] = (char)(0x80 | (c >> 6 & 0x3f));
		b[3] = (char)(0x80 | (c & 0x3f));
		str_add(out, b, 4);
	}
}

int utf_add_utf16(struct str *out, const uint8_t *data, size_t n)
{
	if (n % 2)
		return -1;
	for (size_t i = 0; i < n; i += 2) {
		uint32_t c = data[i] | (uint32_t)data[i + 1] << 8, low;

		if (!c)
			return -1;
		low = i + 3 < n ? data[i + 2] | (uint32_t)data[i + 3] << 8 : 0;
		if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			i += 2;
		}
		utf_add(out, c);
	}
	return 0;
}
