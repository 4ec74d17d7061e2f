/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "isolation/hyperv/vm_args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

#define ARGS_MAX 192

/*
 * Buffers of translated code. A clone's has to hold what it rehearsed and a container on top, 29 MiB: a buffer that
 * overflows is thrown away as a whole. It is given back when the container has been started (vm_trim()). A boot goes
 * through it once.
 */
#define CLONE_TRANSLATION_MIB 32
#define BOOT_TRANSLATION_MIB 128

/* A disk that isn't there; by blockdev-reopen a file may take the place of the nothing. */
#define SPARE_SET 4 /* of descriptors; those of image and disk are 2 and 3 */
#define EMPTY_DISK "driver=raw,file.driver=null-co,file.size=1048576,file.read-zeroes=on"

/* The same for every VM. A pair each: option, value (NULL = none). */
static const char *const fixed_args[][2] = {
	{ "-nodefaults", NULL },
	{ "-no-user-config", NULL },
	{ "-no-reboot", NULL }, /* a guest's panic or reboot ends vmwp */
	{ "-display", "none" },
	{ "-L", VMWP_FIRMWARE },
	{ "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny" },
	{ "-global", "virtio-mmio.force-legacy=false" },
};

/*
 * Devices, in the order that decides their place on the bus: part of what TEMPLATE_LAYOUT stands for. Backends may
 * differ between template and clone, devices may not.
 */
static const char *const fixed_devices[][2] = {
	{ "-device", "virtio-serial-device,id=serial0,max_ports=2" },
	{ "-device", "virtserialport,bus=serial0.0,nr=1,chardev=agent,name=silo.agent" },
	{ "-device", "virtio-blk-device,id=image,drive=image,serial=silo-image" },
	{ "-device", "virtio-blk-device,id=disk,drive=disk,serial=silo-disk" },
	{ "-device", "virtio-blk-device,id=spare0,drive=spare0,serial=silo-spare0" },
	{ "-device", "virtio-blk-device,id=spare1,drive=spare1,serial=silo-spare1" },
	{ "-device", "virtio-blk-device,id=spare2,drive=spare2,serial=silo-spare2" },
	{ "-device", "virtio-blk-device,id=spare3,drive=spare3,serial=silo-spare3" },
	{ "-object", "rng-builtin,id=rng0" },
	{ "-device", "virtio-rng-device,id=rng,rng=rng0" },
	/* Gives free memory of the guest back to the host. page-poison=off: a guest kernel that relies on the content
	 * of free pages then doesn't report any, for a clone's page comes back with what the template had in it. */
	{ "-device", "virtio-balloon-device,id=balloon,free-page-reporting=on,deflate-on-oom=on,page-poison=off" },
	/* Bind mounts and volumes. Owners and modes are the host's own: no second set of them in attributes. */
	{ "-fsdev", "local,id=share,path=" VMWP_SHARES ",security_model=passthrough,multidevs=remap" },
	{ "-device", "virtio-9p-device,id=share,fsdev=share,mount_tag=" GUEST_SHARES_TAG },
	/* Disks of containers that join the machine while it runs: on this bus they come and go. */
	{ "-device", "virtio-scsi-device,id=scsi,num_queues=1" },
};

struct args {
	char **v;
	size_t n;
};

static void add(struct args *a, const char *option, const char *fmt, ...) printf_like(3, 4);

static void add(struct args *a, const char *option, const char *fmt, ...)
{
	va_list ap;

	if (a->n + 3 > ARGS_MAX)
		abort(); /* the tables above have outgrown ARGS_MAX */
	a->v[a->n++] = xstrdup(option);
	if (fmt) {
		va_start(ap, fmt);
		if (vasprintf(&a->v[a->n], fmt, ap) < 0)
			abort();
		va_end(ap);
		a->n++;
	}
}

static void add_table(struct args *a, const char *const table[][2], size_t n)
{
	for (size_t i = 0; i < n; i++)
		add(a, table[i][0], table[i][1] ? "%s" : NULL, table[i][1]);
}

bool vm_id_is_valid(const char *id)
{
	size_t n = strlen(id);

	return n && n <= VM_ID_MAX && id[0] != '-' && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static void add_machine(struct args *a, const struct vm_facts *f, enum vm_mode mode, const char *id)
{
	add(a, "-name", "%s,process=vmwp,debug-threads=on", id);
	add(a, "-M", "microvm,acpi=on,rtc=on,memory-backend=mem");
	if (!strcmp(f->accelerator, "tcg"))
		add(a, "-accel", "tcg,tb-size=%d",
		    mode != VM_MODE_CLONE ? BOOT_TRANSLATION_MIB
		    : f->translation_mib  ? (int)f->translation_mib
					  : CLONE_TRANSLATION_MIB);
	else
		add(a, "-accel", "%s", f->accelerator);
	add(a, "-cpu", "%s", f->cpu);
	add(a, "-m", "%lldM", (long long)f->memory_mib);
	add(a, "-smp", "%lld", (long long)f->cpus);
	if (mode == VM_MODE_COLD)
		add(a, "-object", "memory-backend-ram,id=mem,size=%lldM", (long long)f->memory_mib);
	else
		add(a, "-object", "memory-backend-file,id=mem,size=%lldM,mem-path=" VMWP_MEMORY ",share=%s",
		    (long long)f->memory_mib, mode == VM_MODE_TEMPLATE ? "on" : "off");
}

/* Their wires lead nowhere before vm_plug_card(). */
static void add_cards(struct args *a)
{
	for (int i = 0; i < GUEST_CARDS; i++) {
		add(a, "-netdev", "tap,id=net%d,fd=%d,vhost=off", i, VM_FD_CARDS + i);
		add(a, "-device", "virtio-net-device,id=card%d,netdev=net%d,mac=52:54:00:00:00:%02x", i, i, i + 1);
	}
}

/* A disk of the host in the place of number i, or nothing. */
static void add_spare(struct args *a, size_t i, const struct vm_disk *disk)
{
	if (!disk) {
		add(a, "-blockdev", "node-name=spare%zu,%s", i, EMPTY_DISK);
		return;
	}
	add(a, "-add-fd", "fd=%zu,set=%zu", VM_FD_MORE + i, SPARE_SET + i);
	add(a, "-blockdev",
	    "node-name=spare%zu,driver=raw,read-only=%s,discard=unmap,file.driver=%s,file.filename=/dev/fdset/%zu,"
	    "file.read-only=%s,file.discard=unmap,file.locking=off",
	    i, disk->read_only ? "on" : "off", disk->block ? "host_device" : "file", SPARE_SET + i,
	    disk->read_only ? "on" : "off");
}

static void add_backends(struct args *a, const struct vm_disks *disks)
{
	bool image = disks->image, disk = disks->disk;

	add(a, "-chardev", "socket,id=qmp,fd=%d", VM_FD_QMP);
	add(a, "-mon", "chardev=qmp,mode=control");
	add(a, "-chardev", "socket,id=agent,fd=%d", VM_FD_AGENT);
	add(a, "-add-fd", "fd=%d,set=1", VM_FD_CONSOLE);
	add(a, "-chardev", "file,id=console,path=/dev/fdset/1,append=on");
	add(a, "-serial", "chardev:console");
	if (image)
		add(a, "-add-fd", "fd=%d,set=2", VM_FD_IMAGE);
	add(a, "-blockdev", "node-name=image,read-only=on,%s",
	    image ? "driver=raw,file.driver=file,file.filename=/dev/fdset/2,file.read-only=on,file.locking=off"
		  : EMPTY_DISK);
	if (disk)
		add(a, "-add-fd", "fd=%d,set=3", VM_FD_DISK);
	add(a, "-blockdev", "node-name=disk,%s",
	    disk ? "driver=raw,discard=unmap,file.driver=file,file.filename=/dev/fdset/3,file.discard=unmap"
		 : EMPTY_DISK);
	for (size_t i = 0; i < VM_SPARE_DISKS; i++)
		add_spare(a, i, i < disks->n_more ? &disks->more[i] : NULL);
}

char **vm_args(const struct vm_facts *f, enum vm_mode mode, const char *id, const struct vm_disks *disks, struct err *e)
{
	struct args a = { 0 };

	if (!vm_id_is_valid(id)) {
		err_set(e, ERR_INVALID, 0, "invalid name of a virtual machine");
		return NULL;
	}
	a.v = xcalloc(ARGS_MAX, sizeof *a.v);
	add(&a, "vmwp", NULL);
	add_machine(&a, f, mode, id);
	add_table(&a, fixed_args, array_len(fixed_args));
	add_backends(&a, disks);
	add_table(&a, fixed_devices, array_len(fixed_devices));
	add_cards(&a);
	if (mode == VM_MODE_CLONE) {
		add(&a, "-incoming", "defer");
	} else {
		add(&a, "-kernel", VMWP_KERNEL);
		add(&a, "-initrd", VMWP_INITRAMFS);
		add(&a, "-append", "%s", f->append);
	}
	return a.v;
}

void vm_args_free(char **args)
{
	for (size_t i = 0; args && args[i]; i++)
		free(args[i]);
	free(args);
}
