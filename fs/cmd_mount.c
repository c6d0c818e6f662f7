/* mount, umount, and the helper that mount(8) calls for fstab lines: mount.fuse.meshfs SOURCE MOUNTPOINT -o OPTIONS. */
#include "fs/commands.h"

#include "fs/daemon.h"
#include "fs/mount_helper.h"
#include "fs/mountpoint.h"
#include "fs/registry.h"
#include "fs/run_facts.h"
#include "fs/session.h"

#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SIGNAL_TICK_MS 200

struct mount_request {
	const struct mesh_config *config;
	struct session_config session;
	bool foreground;
};

/* The mount point's name in the log folder: readable, and unique. */
static char *log_name(const char *mountpoint)
{
	struct digest digest;
	char hex[SHA256_HEX_SIZE];
	const char *slash = strrchr(mountpoint, '/');
	sha256_of(mountpoint, strlen(mountpoint), &digest);
	hex_format(digest.bytes, SHA256_SIZE, hex);
	return text_format("mount-%.40s-%.8s", slash && slash[1] ? slash + 1 : "root", hex);
}

static int register_mount(const struct mount_request *q, const struct session *s, const char *log, struct registration **ret, struct err *e)
{
	struct mount_facts facts = { .mountpoint = session_mountpoint(s),
				     .mesh = q->config->name,
				     .mesh_path = q->config->path,
				     .user = session_user(s),
				     .purpose = q->session.purpose,
				     .run = q->session.run_name,
				     .run_id = session_run_id(s),
				     .log = log,
				     .pid = getpid(),
				     .started_ns = clock_now_ns() };
	return registry_begin(&facts, ret, e);
}

/* Until a signal asks for the end or somebody unmounts. */
static void wait_for_end(struct session *s)
{
	while (session_wait(s, 0)) {
		int sig = signals_wait(SIGNAL_TICK_MS);
		if (!sig)
			continue;
		log_info("ending: %s", strsignal(sig));
		return;
	}
}

/* The life of the process that serves a mount. */
static int serve(const struct mount_request *q, struct daemon *d, bool *ret_left, struct err *e)
{
	struct mesh *mesh = NULL;
	struct session *session = NULL;
	struct registration *registration = NULL;
	struct err end = ERR_INIT;
	char *name = log_name(q->session.mountpoint);
	const char *log = name && !q->foreground ? daemon_log(d, name) : NULL;
	signals_block();
	int r = mesh_start(q->config, &mesh, e);
	if (!r)
		r = session_start(mesh, &q->session, &session, e);
	if (!r)
		r = register_mount(q, session, log, &registration, e);
	daemon_ready(d, r ? e : NULL);
	if (!r) {
		wait_for_end(session);
		err_clear(&end);
	}
	if (session && session_stop(session, 0, &end))
		log_error("%s", end.text);
	struct err last = ERR_INIT;
	if (mesh && mesh_stop(mesh, ret_left, &last)) {
		log_error("%s", last.text);
		end = last;
	}
	registry_end(registration, end.code ? end.text : "");
	free(name);
	if (!r && end.code)
		return err_move(e, &end);
	return r;
}

/* The parent: the kernel has the mount; does it answer? */
static int check_answer(const char *mountpoint, struct err *e)
{
	struct statvfs st;
	if (statvfs(mountpoint, &st) && errno != EACCES)
		return err_set(e, -errno, "%s: is mounted but does not answer: %s", mountpoint, strerror(errno));
	return 0;
}

int mount_mesh(const char *mesh_path, const char *mountpoint, const struct mount_options *o, struct err *e)
{
	struct mesh_config *config = NULL;
	struct daemon *d = NULL;
	char *real = NULL;
	int r = run_word_check("mount", "--run", o->run, e);
	if (!r)
		r = run_word_check("mount", "--purpose", o->purpose, e);
	if (!r)
		r = mesh_open(mesh_path, &config, e);
	if (!r)
		r = mountpoint_prepare(mountpoint, o->over, &real, e);
	if (r)
		goto out;
	struct mount_request q = { .config = config,
				   .foreground = o->foreground,
				   .session = { .mountpoint = real,
						.user = o->user,
						.purpose = o->purpose,
						.run_name = o->run,
						.pin = o->run != NULL } };
	r = daemon_fork(o->foreground, &d, e);
	if (d) {
		bool child = !o->foreground;
		bool left = false;
		r = serve(&q, d, &left, e);
		daemon_free(d);
		if (left && !child) {
			if (r)
				fprintf(stderr, "meshfs: %s\n", e->text);
			fflush(NULL);
			_exit(r ? err_exit_status(e) : 0);
		}
		if (child) /* the parent has said what there was to say; what still runs ends with the process */
			_exit(r ? 1 : 0);
	} else if (!r) {
		r = check_answer(real, e);
	}
out:
	free(real);
	mesh_config_free(config);
	return r;
}

int cmd_mount(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct mount_options o = { 0 };
	const struct option_spec specs[] = {
		{ "--purpose", 0, OPTION_TEXT, "P", "what the data is read for; policy may ask for it", &o.purpose },
		{ "--run", 0, OPTION_TEXT, "NAME", "the run that reads are attributed to; pins latest", &o.run },
		{ "--user", 0, OPTION_TEXT, "U", "a session that only user U can enter (root)", &o.user },
		{ "--foreground", 'f', OPTION_FLAG, NULL, "stay, and log to stderr", &o.foreground },
		{ "--over", 0, OPTION_FLAG, NULL, "hide what is in the folder, if it is not empty", &o.over },
	};
	int words;
	(void)ret_status;
	int r = options_parse("mount MOUNTPOINT [options]",
			      "Mounts the mesh: one session for the caller.  Returns when the mount answers.", specs,
			      sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "mount", "mount: wants one mount point");
	return mount_mesh(inv->mesh_path, argv[0], &o, e);
}
