/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* linux.seccomp of a bundle: its filter is kept in ROOT/.seccomp; and its listener. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "base/own.h"
#include "runtime/runtime.h"
#include "runtime/seccomp_filter.h"

int seccomp_of_config(const struct runtime *rt, const json_t *config, char **path, unsigned *flags, bool *asks,
		      struct err *e)
{
	autofree char *dir = xasprintf("%s/.seccomp", rt->root);
	json_t *linux_part, *seccomp;
	const char *listener;

	if (json_get_object(config, "linux", &linux_part, e) || json_get_object(linux_part, "seccomp", &seccomp, e))
		return -1;
	if (!seccomp)
		return 0;
	if (seccomp_filter_file(dir, seccomp, path, flags, e) ||
	    json_get_str(seccomp, "listenerPath", "", &listener, e))
		return err_prefix(e, "linux.seccomp");
	*asks = seccomp_filter_asks(seccomp);
	if (*asks && !*listener)
		return err_set(e, ERR_INVALID, 0, "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs it");
	return 0;
}

static int send_with_fd(int sock, const char *text, int fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	control.h.cmsg_level = SOL_SOCKET;
	control.h.cmsg_type = SCM_RIGHTS;
	control.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len ? 0 : -1;
}

static int connect_to(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	autoclose int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, ERR_INVALID, 0, "%s: the path is too long for a socket", path);
	strcpy(a.sun_path, path);
	if (sock < 0 || connect(sock, (const struct sockaddr *)&a, sizeof(a)))
		return err_set(e, ERR_INVALID, errno, "connect %s", path);
	return take_fd(&sock);
}

int seccomp_send_listener(const struct record *r, const json_t *config, pid_t pid, int listener, struct err *e)
{
	const json_t *seccomp = json_member(json_member(config, "linux"), "seccomp");
	autoclose int sock = connect_to(json_str(seccomp, "listenerPath", ""), e);
	autojson *message = json_pack("{s:s, s:[s], s:i, s:s, s:o}", "ociVersion", OCI_VERSION, "fds", "seccompFd",
				      "pid", (int)pid, "metadata", json_str(seccomp, "listenerMetadata", ""), "state",
				      record_state(r, STATUS_CREATED));
	autofree char *text = json_text(message);

	if (sock < 0)
		return err_prefix(e, "linux.seccomp.listenerPath");
	if (send_with_fd(sock, text, listener))
		return err_set(e, ERR_SYSTEM, errno, "send the seccomp listener");
	return 0;
}

int console_send(const char *socket_path, int master, struct err *e)
{
	autoclose int sock = connect_to(socket_path, e);
	int flags = fcntl(master, F_GETFL);

	if (sock < 0)
		return err_prefix(e, "--console-socket");
	/* as it comes from a pty: whoever gets it decides */
	if (flags < 0 || fcntl(master, F_SETFL, flags & ~O_NONBLOCK) || send_with_fd(sock, "/dev/ptmx", master))
		return err_set(e, ERR_SYSTEM, errno, "send the console");
	return 0;
}
