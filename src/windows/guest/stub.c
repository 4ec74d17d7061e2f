/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In the place of programs that Wine only has as a stub which succeeds and does nothing: a script must see the failure. */
#include <stdio.h>

int main(void)
{
	fprintf(stderr, STUB_NAME ": this program is not in the Windows base of Silo, which is made from Wine. "
				  "Bring it with your image if you need it.\n");
	return 1;
}
