/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/own.h"
#include "os/netlink.h"

#define LISTEN_BACKLOG 16

struct job {
	int ns;
	int (*fn)(void *arg, struct err *e);
	void *arg;
	struct err *e;
	int rc;
};

static void *job_thread(void *arg)
{
	struct job *j = arg;

	if (j->ns < 0 ? unshare(CLONE_NEWNET) : setns(j->ns, CLONE_NEWNET))
		j->rc = err_set(j->e, ERR_SYSTEM, errno, "enter a network namespace");
	else
		j->rc = j->fn(j->arg, j->e);
	return NULL;
}

int netns_run(int ns, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct job j = { .ns = ns, .fn = fn, .arg = arg, .e = e };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, job_thread, &j);

	if (rc)
		return err_set(e, ERR_SYSTEM, rc, "start a thread");
	pthread_join(thread, NULL);
	return j.rc;
}

struct fresh {
	int ns, netlink;
};

static int open_fresh(void *arg, struct err *e)
{
	struct fresh *f = arg;

	if (netlink_lo_up(e) < 0)
		return -1;
	f->ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (f->ns < 0)
		return err_set(e, ERR_SYSTEM, errno, "open a network namespace");
	f->netlink = netlink_open(e);
	return f->netlink < 0 ? -1 : 0;
}

int netns_new(int *netlink, struct err *e)
{
	struct fresh f = { -1, -1 };

	if (netns_run(-1, open_fresh, &f, e) < 0) {
		close_fd(&f.ns);
		return -1;
	}
	*netlink = f.netlink;
	return f.ns;
}

int netns_of(int pid, struct err *e)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SYSTEM, errno, "open %s", path) : fd;
}

static int open_netlink(void *arg, struct err *e)
{
	int *sock = arg;

	*sock = netlink_open(e);
	return *sock < 0 ? -1 : 0;
}

int netns_netlink(int ns, struct err *e)
{
	int sock = -1;

	return netns_run(ns, open_netlink, &sock, e) < 0 ? -1 : sock;
}

struct listening {
	struct sockaddr_storage name;
	socklen_t n;
	int udp, tcp;
};

static int open_listening(void *arg, struct err *e)
{
	struct listening *l = arg;
	int on = 1;

	l->udp = socket(l->name.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	l->tcp = socket(l->name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->udp < 0 || l->tcp < 0)
		return err_set(e, ERR_SYSTEM, errno, "socket");
	setsockopt(l->tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* The same port for both: what TCP got, when any will do. */
	if (bind(l->tcp, (struct sockaddr *)&l->name, l->n) < 0 ||
	    getsockname(l->tcp, (struct sockaddr *)&l->name, &l->n) < 0 ||
	    bind(l->udp, (struct sockaddr *)&l->name, l->n) < 0 || listen(l->tcp, LISTEN_BACKLOG) < 0)
		return err_set(e, ERR_SYSTEM, errno, "bind a name server's socket");
	return 0;
}

int netns_listen(int ns, const struct ip_addr *a, unsigned short *port, int *udp, int *tcp, struct err *e)
{
	struct listening l = { .udp = -1, .tcp = -1 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&l.name;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&l.name;
	int rc;

	l.name.ss_family = (sa_family_t)a->family;
	if (a->family == AF_INET6) {
		v6->sin6_port = htons(*port);
		memcpy(&v6->sin6_addr, a->b, 16);
	} else {
		v4->sin_port = htons(*port);
		memcpy(&v4->sin_addr, a->b, 4);
	}
	l.n = a->family == AF_INET6 ? sizeof(*v6) : sizeof(*v4);
	rc = ns < 0 ? open_listening(&l, e) : netns_run(ns, open_listening, &l, e);
	if (rc < 0) {
		close_fd(&l.udp);
		close_fd(&l.tcp);
		return -1;
	}
	*port = ntohs(a->family == AF_INET6 ? v6->sin6_port : v4->sin_port);
	*udp = l.udp;
	*tcp = l.tcp;
	return 0;
}
