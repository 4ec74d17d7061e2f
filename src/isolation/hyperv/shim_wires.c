/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * silo-vmwp.so: the wires of QEMU's network cards.
 *
 * A card of a microvm has to be there from the start, and so has its netdev, which can't be exchanged. What a descriptor
 * leads to can. So each card has a tap as its netdev, by a descriptor (VM_FD_CARDS ...) that leads nowhere at first.
 * QEMU's questions about that tap are answered here, as a tap with segmentation and checksum offload would: that is what
 * the guest's driver is offered. Later QEMU is told to open (network.c)
 *
 *	/wire/C/F  the wire of card C leads to the tap of descriptor F; the tap is set as QEMU has set the one before
 *	/wire/C    it leads nowhere
 *
 * Commands run in QEMU's main loop under the lock that whoever reads or writes a netdev holds, too.
 */
#include "isolation/hyperv/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "isolation/hyperv/vm_args.h"

/* What every kernel's tap can do. */
#define OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define HEADER_BYTES 12 /* struct virtio_net_hdr_mrg_rxbuf */

enum { SET_HEADER, SET_LITTLE_ENDIAN, SET_OFFLOADS, SETTINGS };

/* What QEMU sets of a tap, and whether by a pointer to the value. */
static const struct {
	unsigned long request;
	bool by_pointer;
} settings[SETTINGS] = {
	[SET_HEADER] = { TUNSETVNETHDRSZ, true },
	[SET_LITTLE_ENDIAN] = { TUNSETVNETLE, true },
	[SET_OFFLOADS] = { TUNSETOFFLOAD, false },
};

/* QEMU has no place where this could be kept for us. */
static struct card {
	bool wired;
	bool is_set[SETTINGS];
	int values[SETTINGS];
} cards[GUEST_CARDS];

static int fail(int error)
{
	errno = error;
	return -1;
}

static struct card *card_of(int fd)
{
	return fd >= VM_FD_CARDS && fd < VM_FD_CARDS + GUEST_CARDS ? &cards[fd - VM_FD_CARDS] : NULL;
}

static int setting_of(unsigned long request)
{
	int i = 0;

	while (i < SETTINGS && settings[i].request != request)
		i++;
	return i;
}

static int set(int fd, int setting, int value)
{
	long argument = settings[setting].by_pointer ? (long)&value : value;

	return (int)syscall(SYS_ioctl, fd, settings[setting].request, argument);
}

/* QEMU sets something of a card's tap. Where there is none a later one is told. */
static int set_card(struct card *c, int fd, int setting, void *argument)
{
	int value = settings[setting].by_pointer ? *(int *)argument : (int)(long)argument;

	if (!c->wired && setting == SET_OFFLOADS && (value & ~OFFLOADS))
		return fail(EINVAL);
	if (c->wired && set(fd, setting, value))
		return -1;
	c->is_set[setting] = true;
	c->values[setting] = value;
	return 0;
}

/* QEMU asks for something of the tap of a card that has none. */
static int answer(unsigned long request, void *argument)
{
	struct ifreq *interface = argument;

	switch (request) {
	case TUNGETIFF:
		*interface = (struct ifreq){ .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
		return 0;
	case TUNGETVNETHDRSZ:
		*(int *)argument = HEADER_BYTES;
		return 0;
	case TUNSETSNDBUF: /* a tap's buffer is as large as QEMU wants it from the start */
		return 0;
	default:
		return fail(ENOTTY);
	}
}

static int shim_ioctl(int fd, unsigned long request, void *argument)
{
	struct card *c = card_of(fd);
	int setting = c ? setting_of(request) : SETTINGS;

	if (setting < SETTINGS)
		return set_card(c, fd, setting, argument);
	if (c && !c->wired)
		return answer(request, argument);
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static int lead_to(int number, int tap)
{
	struct card *c = &cards[number];

	for (int i = 0; i < SETTINGS; i++)
		if (c->is_set[i] && set(tap, i, c->values[i]))
			return -1;
	/* QEMU makes what it receives a descriptor that blocks. */
	if (fcntl(tap, F_SETFL, O_NONBLOCK) || dup3(tap, VM_FD_CARDS + number, O_CLOEXEC) < 0)
		return -1;
	c->wired = true;
	return 0;
}

static int lead_nowhere(int number)
{
	if (dup3(VM_FD_NO_WIRE, VM_FD_CARDS + number, O_CLOEXEC) < 0)
		return -1;
	cards[number].wired = false;
	return 0;
}

int shim_wire(const char *what)
{
	int number, tap, n = sscanf(what, "%d/%d", &number, &tap);

	if (n < 1 || number < 0 || number >= GUEST_CARDS)
		return fail(EINVAL);
	return n == 1 ? lead_nowhere(number) : lead_to(number, tap);
}

/* The C library's name for ioctl(2). */
#undef ioctl
int shim_ioctl_variadic(int fd, unsigned long request, ...) __asm__("ioctl");

int shim_ioctl_variadic(int fd, unsigned long request, ...)
{
	va_list ap;
	void *argument;

	va_start(ap, request);
	argument = va_arg(ap, void *);
	va_end(ap);
	return shim_ioctl(fd, request, argument);
}
