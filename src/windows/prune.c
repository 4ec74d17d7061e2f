/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two sizes of the base: what each of them leaves out of Wine. And: every file is there once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/own.h"
#include "base/str.h"
#include "windows/build.h"

#define DRIVE_C BUILD_PREFIX "/drive_c"

/* Not for servercore: graphics, sound, games, browsers, desktop programs, devices. */
static const char *const core_without[] = {
	"*.ax",         "*.cpl",        "*.ds",         "appwiz*",      "avifil32*",   "capi*",        "cards*",
	"clock.exe",    "colorcnv*",    "control.exe",  "ctapi*",       "d2d1*",       "d3d*",         "dcomp*",
	"devenum*",     "dhtmled*",     "dinput*",      "dm[bcilsu]*",  "dplay*",      "dpn*",         "dpv*",
	"dpwsock*",     "dsound*",      "dswave*",      "dwrite*",      "dx*",         "evr.dll",      "explorerframe*",
	"fontsub*",     "gameux*",      "gamingtcui*",  "glu32*",       "hh*.exe",     "hhctrl*",      "iccvid*",
	"ieframe*",     "iexplore*",    "inkobj*",      "itss*",        "joy*",        "ksuser*",      "light.msstyles",
	"magnification*", "mci*",       "mf.dll",       "mf[3ahmprs]*", "mp3dmod*",    "msacm32.drv",  "msauddec*",
	"mscms*",       "mshtml*",      "msident*",     "msisys*",      "msmpeg2*",    "msrle32*",     "msttsengine*",
	"msvidc32*",    "notepad*",     "oleview*",     "opencl*",      "photometa*",  "progman*",     "prntvpt*",
	"qasf*",        "qcap*",        "qedit*",       "quartz*",      "resampledmo*", "riched*",     "sapi*",
	"scsiport*",    "spoolsv*",     "sti.dll",      "t2embed*",     "tapi32*",     "taskmgr*",     "twain*",
	"uninstaller*", "usbd*",        "view.exe",     "vulkan*",      "wiaservc*",   "windows.devices*", "windows.gaming*",
	"windows.media*", "windows.perception*", "windows.ui*", "windowscodecs*", "winealsa*", "winebrowser*", "winebus*",
	"winecfg*",     "wineconsole*", "winedbg*",     "winefile*",    "winegstreamer*", "winehid*",  "winemenubuilder*",
	"winemine*",    "winemsi*",     "wineps*",      "winepulse*",   "wineusb*",    "winevulkan*",  "winex11*",
	"winexinput*",  "winhlp32*",    "winprint*",    "winscard*",    "wmadmod*",    "wmp*",         "wmv*",
	"wordpad*",     "write.exe",    "x3daudio*",    "xactengine*",  "xapofx*",     "xaudio*",      "xinput*",
	"xpssvcs*",
};

static const char *const core_without_trees[] = { DRIVE_C "/windows/resources",  DRIVE_C "/windows/twain_32",
						  DRIVE_C "/windows/twain_64",   DRIVE_C "/windows/help",
						  BUILD_SYSTEM32 "/gecko",       BUILD_SYSTEM32 "/Speech",
						  DRIVE_C "/Program Files/Internet Explorer",
						  DRIVE_C "/Program Files/Windows Media Player",
						  DRIVE_C "/Program Files/Windows NT" };

/* nanoserver has these, and Silo's own programs. */
static const char *const nano_with[] = {
	"advapi32.dll",     "apisetschema.dll", "apphelp.dll",
	"arp.exe",          "attrib.exe",       "authz.dll",
	"avrt.dll",         "bcrypt.dll",       "bcryptprimitives.dll",
	"cabinet.dll",      "cacls.exe",        "cfgmgr32.dll",
	"chcp.com",         "cmd.exe",          "combase.dll",
	"comctl32.dll",     "coml2.dll",        "concrt140.dll",
	"conhost.exe",      "crypt32.dll",      "cryptnet.dll",
	"cryptsp.dll",      "cscript.exe",      "dbghelp.dll",
	"dhcpcsvc.dll",     "dnsapi.dll",       "dssenh.dll",
	"expand.exe",       "explorer.exe",     "fc.exe",
	"find.exe",         "findstr.exe",      "fltlib.dll",
	"fsutil.exe",       "gdi32.dll",        "getmac.exe",
	"hostname.exe",     "http.sys",         "httpapi.dll",
	"icacls.exe",       "imagehlp.dll",     "imm32.dll",
	"ipconfig.exe",     "iphlpapi.dll",     "jsproxy.dll",
	"kernel32.dll",     "kernelbase.dll",   "klist.exe",
	"ktmw32.dll",       "mountmgr.sys",     "mpr.dll",
	"msacm32.dll",      "mscoree.dll",      "msi.dll",
	"msiexec.exe",      "mspatcha.dll",     "msvcp140.dll",
	"msvcp140_1.dll",   "msvcp140_2.dll",   "msvcp140_atomic_wait.dll",
	"msvcrt.dll",       "mswsock.dll",      "ncrypt.dll",
	"ndis.sys",         "net.exe",          "netapi32.dll",
	"netio.sys",        "netsh.exe",        "netstat.exe",
	"netutils.dll",     "normaliz.dll",     "nsi.dll",
	"nsiproxy.sys",     "ntdll.dll",        "ntdsapi.dll",
	"ntoskrnl.exe",     "odbccp32.dll",     "ole32.dll",
	"oleaut32.dll",     "pdh.dll",          "ping.exe",
	"plugplay.exe",     "pnputil.exe",      "powershell.exe",
	"powrprof.dll",     "profapi.dll",      "propsys.dll",
	"psapi.dll",        "reg.exe",          "regedit.exe",
	"regsvr32.exe",     "robocopy.exe",     "rpcrt4.dll",
	"rpcss.exe",        "rsaenh.dll",       "rundll32.exe",
	"sc.exe",           "schannel.dll",     "schedsvc.dll",
	"schtasks.exe",     "sechost.dll",      "secur32.dll",
	"security.dll",     "services.exe",     "setupapi.dll",
	"setx.exe",         "shcore.dll",       "shell32.dll",
	"shlwapi.dll",      "shutdown.exe",     "sort.exe",
	"srvcli.dll",       "srvsvc.dll",       "sspicli.dll",
	"start.exe",        "stdole2.tlb",      "subst.exe",
	"svchost.exe",      "sxs.dll",          "systeminfo.exe",
	"taskkill.exe",     "tasklist.exe",     "taskschd.dll",
	"tdh.dll",          "tzres.dll",        "ucrtbase.dll",
	"urlmon.dll",       "user32.dll",       "userenv.dll",
	"uxtheme.dll",      "vcruntime140.dll", "vcruntime140_1.dll",
	"version.dll",      "virtdisk.dll",     "wevtapi.dll",
	"wevtsvc.dll",      "wevtutil.exe",     "where.exe",
	"whoami.exe",       "win32u.dll",       "wineboot.exe",
	"winedevice.exe",   "winepath.exe",     "winhttp.dll",
	"wininet.dll",      "winmm.dll",        "winsta.dll",
	"wintrust.dll",     "wldap32.dll",      "wldp.dll",
	"ws2_32.dll",       "wscript.exe",      "wsock32.dll",
	"wtsapi32.dll",     "xcopy.exe",        "xmllite.dll",
	"zlib1.dll",        "curl.exe",         "icacls.exe",
	"more.com",         "net1.exe",         "silo-pipe.exe",
	"silo-console.exe", "silo-run.exe",     "systeminfo.exe",
	"tar.exe",          "timeout.exe",      "tree.com",
};

/* --- walking -------------------------------------------------------------------------------------------------------- */

/* Call fn for each regular file below a directory; what fn does to that file doesn't disturb. */
static int each_file(const char *directory, int (*fn)(const char *path, const char *name, void *arg, struct err *e),
		     void *arg, struct err *e)
{
	char *const roots[] = { (char *)(uintptr_t)directory, NULL };
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int failed = 0;

	if (!walk)
		return err_set(e, ERR_SYSTEM, errno, "%s", directory);
	for (FTSENT *at; !failed && (at = fts_read(walk));)
		if (at->fts_info == FTS_F)
			failed = fn(at->fts_path, at->fts_name, arg, e);
	fts_close(walk);
	return failed;
}

/* --- every file once ------------------------------------------------------------------------------------------------ */

static bool same_content(const char *a, const char *b)
{
	struct stat sa, sb;
	autostr ta, tb;

	str_init(&ta, 512 * MIB);
	str_init(&tb, 512 * MIB);
	if (stat(a, &sa) || stat(b, &sb) || !S_ISREG(sb.st_mode) || sa.st_size != sb.st_size || !sa.st_size ||
	    sa.st_ino == sb.st_ino)
		return false;
	return !io_read_file(AT_FDCWD, a, &ta, NULL) && !io_read_file(AT_FDCWD, b, &tb, NULL) && ta.len == tb.len &&
	       !memcmp(ta.s, tb.s, ta.len);
}

/* Wine's first start has copied its DLLs into system32. */
static int link_copy(const char *path, const char *name, void *arg, struct err *e)
{
	static const char *const sources[] = { BUILD_DLLS, BUILD_ROOT "/usr/share/wine/nls" };

	for (size_t i = 0; i < array_len(sources); i++) {
		autofree char *source = xasprintf("%s/%s", sources[i], name);

		if (!same_content(path, source))
			continue;
		if (unlink(path) || link(source, path))
			return err_set(e, ERR_SYSTEM, errno, "%s", path);
	}
	return 0;
}

/* Programs of our own are in system32 too, over the copies that Wine's first start has made of its own. */
static int link_program(const char *path, const char *name, void *arg, struct err *e)
{
	autofree char *to = xasprintf(BUILD_SYSTEM32 "/%s", name);

	if (!str_ends(name, ".exe") && !str_ends(name, ".com"))
		return 0;
	if ((unlink(to) && errno != ENOENT) || link(path, to))
		return err_set(e, ERR_SYSTEM, errno, "%s", to);
	return 0;
}

int build_link_copies(void *arg, struct err *e)
{
	if (each_file(DRIVE_C, link_copy, NULL, e))
		return -1;
	return each_file(BUILD_DLLS, link_program, NULL, e);
}

/* --- sizes ---------------------------------------------------------------------------------------------------------- */

typedef bool unwanted_fn(const char *name);

static bool unwanted_in_core(const char *name)
{
	for (size_t i = 0; i < array_len(core_without); i++)
		if (!fnmatch(core_without[i], name, 0))
			return true;
	return false;
}

static bool unwanted_in_nano(const char *name)
{
	for (size_t i = 0; i < array_len(nano_with); i++)
		if (!strcasecmp(nano_with[i], name))
			return false;
	return true;
}

struct pruning {
	unwanted_fn *unwanted;
	bool known_only; /* keep what Wine's directory of programs doesn't have */
};

static int prune_file(const char *path, const char *name, void *arg, struct err *e)
{
	const struct pruning *p = arg;
	autofree char *original = xasprintf(BUILD_DLLS "/%s", name);

	if (!p->unwanted(name) || (p->known_only && access(original, F_OK)))
		return 0;
	return unlink(path) ? err_set(e, ERR_SYSTEM, errno, "%s", path) : 0;
}

/* Drive C: first, as long as the directory of programs says what is one. */
static int prune(unwanted_fn *unwanted, struct err *e)
{
	struct pruning drive = { unwanted, true }, programs = { unwanted, false };

	return each_file(DRIVE_C, prune_file, &drive, e) || each_file(BUILD_DLLS, prune_file, &programs, e) ? -1 : 0;
}

int build_prune_core(void *arg, struct err *e)
{
	for (size_t i = 0; i < array_len(core_without_trees); i++)
		if (io_remove_tree(AT_FDCWD, core_without_trees[i], e))
			return -1;
	return prune(unwanted_in_core, e);
}

int build_prune_nano(void *arg, struct err *e)
{
	return prune(unwanted_in_nano, e);
}
