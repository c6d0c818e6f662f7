/*
 * meshfs run: a session of its own around a command.
 *
 *     waiter (this process, in the private namespace)
 *      ├─ server   own session: Ctrl-C does not reach it; mounts, serves, records; before any thread starts it is forked
 *      └─ command  stays in the waiter's process group, so the terminal is its as if it had been started directly
 */
#include "catalog/base/buf.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/secret.h"
#include "catalog/base/text.h"
#include "fs/commands.h"
#include "fs/git_head.h"
#include "fs/private.h"
#include "fs/run_facts.h"
#include "fs/run_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_FAILURE 125
#define NOT_EXECUTABLE 126
#define NOT_FOUND 127
#define COMMAND_TEXT_MAX (32u << 10)

struct run {
	const char *purpose, *name, *at, *user;
	struct option_list params, outputs;
	char **argv;
	struct mesh_config *mesh;
	struct passwd *account; /* --user */
	char *folder;           /* the mount point */
	bool folder_made;
	char *command;
	char id[RUN_ID_SIZE];
};

/* -- before ---------------------------------------------------------------------------------- */

/* The command line as a shell would take it. */
static char *command_text(char **argv)
{
	struct buf b = BUF_INIT;
	const char *before = NULL;
	for (; *argv && b.len < COMMAND_TEXT_MAX; before = *argv++) {
		size_t kept = secret_kept(before, *argv);
		bool plain = **argv && !(*argv)[strspn(*argv, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-")];
		if (b.len)
			buf_addc(&b, ' ');
		if ((*argv)[kept]) {
			buf_add(&b, *argv, kept);
			buf_adds(&b, SECRET_HIDDEN);
			continue;
		}
		if (plain) {
			buf_adds(&b, *argv);
			continue;
		}
		buf_addc(&b, '\'');
		for (const char *p = *argv; *p; p++)
			*p == '\'' ? buf_adds(&b, "'\\''") : buf_addc(&b, *p);
		buf_addc(&b, '\'');
	}
	char *text = buf_take(&b);
	if (text)
		secrets_hide(text);
	return text;
}

static int check_params(const struct run *run, struct err *e)
{
	for (size_t i = 0; i < run->params.count; i++)
		if (run->params.items[i][0] == '=' || !strchr(run->params.items[i], '='))
			return options_wrong(e, "run", "--param %s: wants KEY=VALUE", run->params.items[i]);
	return 0;
}

static int find_account(struct run *run, struct err *e)
{
	if (!run->user)
		return 0;
	if (geteuid() != 0)
		return err_set_kind(e, ERR_FAIL, -EPERM, "--user %s: only root may run a command for another user", run->user);
	run->account = getpwnam(run->user);
	return run->account ? 0 : err_set(e, -ENOENT, "--user %s: no such user", run->user);
}

/* Where the command will find the mesh: --at, or a folder of its own that is removed afterwards. */
static int find_folder(struct run *run, struct err *e)
{
	struct stat st;
	if (run->at) {
		run->folder = io_absolute(NULL, run->at);
		if (!run->folder)
			return err_set(e, -ENOMEM, "no memory for a path");
		if (stat(run->folder, &st) || !S_ISDIR(st.st_mode))
			return err_set_kind(e, ERR_FAIL, -ENOTDIR, "--at %s: not a folder; make it first", run->at);
		return 0;
	}
	const char *tmp = getenv("TMPDIR");
	run->folder = text_format("%s/meshfs-run-XXXXXX", tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (!run->folder || !mkdtemp(run->folder))
		return err_set_kind(e, ERR_FAIL, -errno, "cannot make a folder to mount at in %s: %s; TMPDIR or --at can name another place", tmp ? tmp : "/tmp",
				    strerror(errno));
	run->folder_made = true;
	if (run->account && lchown(run->folder, run->account->pw_uid, run->account->pw_gid))
		return err_set_kind(e, ERR_FAIL, -errno, "%s: cannot give it to %s: %s", run->folder, run->user, strerror(errno));
	return 0;
}

/* The server removes its mount; one that was killed leaves it dead, in our namespace alone. */
static void remove_folder(const char *folder)
{
	if (rmdir(folder) && errno == EBUSY && !umount2(folder, MNT_DETACH))
		rmdir(folder);
}

/* -- the server ------------------------------------------------------------------------------ */

static void server(const struct run *run, int fd)
{
	char commit[GIT_COMMIT_MAX], host[256] = "";
	struct passwd *me = run->account ? run->account : getpwuid(geteuid());
	gethostname(host, sizeof host - 1);
	setsid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
	}
	struct run_setup setup = {
		.mesh = run->mesh,
		.for_user = run->user,
		.facts = { .name = run->name, .user = me ? me->pw_name : "", .uid = me ? me->pw_uid : geteuid(), .purpose = run->purpose,
			   .command = run->command, .parent = getenv("MESHFS_RUN"), .params = run->params.items, .param_count = run->params.count,
			   .host = host, .mount = run->folder },
	};
	if (!git_head(".", commit))
		setup.facts.git_commit = commit;
	int status = run_serve(&setup, fd);
	if (run->folder_made)
		rmdir(run->folder); /* whoever made it may have been killed */
	_exit(status);
}

static int start_server(struct run *run, int *ret_fd, pid_t *ret_pid, struct err *e)
{
	int pair[2];
	struct run_message m;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(e, -errno, "cannot make a socket pair: %s", strerror(errno));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		server(run, pair[1]);
	}
	close(pair[1]);
	int r = pid < 0 ? err_set(e, -errno, "cannot start the server: %s", strerror(errno)) : run_receive(pair[0], &m);
	if (pid > 0 && r)
		err_set_kind(e, ERR_FAIL, -EIO, "the server of the mount ended before it was ready");
	else if (!r && m.kind != RUN_READY)
		r = err_set_kind(e, (enum err_kind)m.error_kind, m.code ? m.code : -EIO, "%s", m.text);
	if (r) {
		if (pid > 0)
			waitpid(pid, NULL, 0);
		close(pair[0]);
		return r;
	}
	snprintf(run->id, sizeof run->id, "%.*s", (int)sizeof run->id - 1, m.text);
	*ret_fd = pair[0];
	*ret_pid = pid;
	return 0;
}

/* -- the command ----------------------------------------------------------------------------- */

/* What the caller's programs find their credentials and private folders by: none of it is the other user's business. */
static void shed_environment(void)
{
	static const char *const shed[] = { "AWS_", "XDG_", "OPENLINEAGE_API_KEY=" };
	for (char **v = environ; *v;) {
		char name[256];
		size_t n = strcspn(*v, "="), i = 0;
		while (i < sizeof shed / sizeof *shed && !text_starts(*v, shed[i]))
			i++;
		if (i < sizeof shed / sizeof *shed && n < sizeof name) {
			snprintf(name, sizeof name, "%.*s", (int)n, *v);
			unsetenv(name);
			v = environ;
		} else {
			v++;
		}
	}
}

static int become(const struct passwd *account)
{
	if (!account)
		return 0;
	shed_environment();
	if (close_range(3, ~0u, 0)) /* what the caller has open may be closed to the user */
		return -errno;
	if (initgroups(account->pw_name, account->pw_gid) || setgid(account->pw_gid) || setuid(account->pw_uid))
		return -errno;
	setenv("HOME", account->pw_dir, 1);
	setenv("USER", account->pw_name, 1);
	setenv("LOGNAME", account->pw_name, 1);
	return 0;
}

static void command(const struct run *run, const sigset_t *mask)
{
	setenv("MESHFS_MOUNT", run->folder, 1);
	setenv("MESHFS_RUN", run->id, 1);
	setenv("MESHFS_MESH", run->mesh->path, 1);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	int r = become(run->account);
	if (r) {
		fprintf(stderr, "meshfs: run: cannot become %s: %s\n", run->user, strerror(-r));
		_exit(OWN_FAILURE);
	}
	execvp(run->argv[0], run->argv);
	r = errno;
	fprintf(stderr, "meshfs: run: %s: %s\n", run->argv[0], strerror(r));
	_exit(r == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Waits for the command.  What the terminal sends reaches it without us; what is sent to us alone is passed on. */
static int wait_command(pid_t pid, const sigset_t *set)
{
	for (;;) {
		int status;
		pid_t done = waitpid(pid, &status, WNOHANG);
		if (done == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (done < 0 && errno != EINTR)
			return OWN_FAILURE;
		siginfo_t info;
		int sig = sigwaitinfo(set, &info);
		if (sig > 0 && sig != SIGCHLD && info.si_code <= 0 && info.si_pid != pid)
			kill(pid, sig);
	}
}

static int run_command(const struct run *run, struct err *e)
{
	static const int passed[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGALRM };
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
		sigaddset(&set, passed[i]);
	sigprocmask(SIG_BLOCK, &set, &before);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		command(run, &before);
	int status = pid < 0 ? err_set(e, -errno, "cannot start the command: %s", strerror(errno)) : wait_command(pid, &set);
	/* Still blocked: from here on the server is told, and a late Ctrl-C must not cut that short. */
	return status;
}

/* -- after ----------------------------------------------------------------------------------- */

static int hash_file(int fd, struct run_message *m)
{
	struct digest d;
	int r = sha256_of_fd(fd, &d, &m->size);
	if (!r)
		hex_format(d.bytes, sizeof d.bytes, m->sha256);
	return r;
}

/* With --user it is opened as that user, with his groups. */
static int open_output(const struct run *run, const char *path)
{
	gid_t groups[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, groups), r = 0;
	const struct passwd *a = run->account;
	if (a && (count < 0 || initgroups(a->pw_name, a->pw_gid) || setegid(a->pw_gid) || seteuid(a->pw_uid)))
		r = -errno;
	int fd = r ? r : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (!r && fd < 0)
		fd = -errno;
	if (a && (seteuid(0) || setegid(0) || setgroups((size_t)(count < 0 ? 0 : count), groups)) && fd >= 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Hashed here, not in the server: the file may lie in the mount that it serves. */
static int send_output(const struct run *run, const char *name, int fd, struct err *e)
{
	struct run_message m = { .kind = RUN_OUTPUT };
	struct stat st;
	char *path = io_canonical(name);
	if (!path || strlen(path) >= sizeof m.text) {
		free(path);
		return err_set(e, -ENAMETOOLONG, "--output %s: the path is too long", name);
	}
	snprintf(m.text, sizeof m.text, "%s", path);
	free(path);
	int file = open_output(run, m.text), code = file < 0 ? file : 0;
	if (!code && (fstat(file, &st) || !S_ISREG(st.st_mode)))
		code = -EINVAL;
	if (!code)
		code = hash_file(file, &m);
	if (!code)
		code = run_send(fd, &m);
	if (file >= 0)
		close(file);
	if (code)
		err_set_kind(e, ERR_FAIL, code, "--output %s: not on record: %s", name,
			     code == -ENOENT ? "the command did not make it" : code == -EINVAL ? "not a regular file" : strerror(-code));
	return code;
}

static int finish(const struct run *run, int status, int fd, pid_t server_pid, struct err *e)
{
	int failed = 0;
	for (size_t i = 0; i < run->outputs.count; i++) {
		struct err one = ERR_INIT;
		if (send_output(run, run->outputs.items[i], fd, &one)) {
			log_error("run: %s", one.text);
			failed = OWN_FAILURE;
		}
	}
	struct run_message m = { .kind = RUN_EXIT, .code = status };
	int r = run_send(fd, &m);
	if (!r)
		r = run_receive(fd, &m);
	if (r)
		err_set_kind(e, ERR_FAIL, -EIO, "the server of the mount ended early; what it served is on record, 'meshfs lineage reads' shows it");
	else if (m.kind != RUN_DONE)
		r = err_set_kind(e, (enum err_kind)m.error_kind, m.code ? m.code : -EIO, "%s", m.text);
	waitpid(server_pid, NULL, 0);
	if (r)
		log_error("run: %s", e->text);
	return status ? status : r ? OWN_FAILURE : failed;
}

static int prepare(struct run *run, const struct invocation *inv, struct err *e)
{
	int r = check_params(run, e);
	if (!r)
		r = run_word_check("run", "--name", run->name, e);
	if (!r)
		r = run_word_check("run", "--purpose", run->purpose, e);
	if (!r)
		r = find_account(run, e);
	if (!r)
		r = mesh_open(inv->mesh_path, &run->mesh, e);
	if (!r) {
		run->command = command_text(run->argv);
		r = run->command ? 0 : err_set(e, -ENOMEM, "no memory for the command line");
	}
	if (!r)
		r = find_folder(run, e);
	if (r)
		return r;
	r = private_mounts(e);
	if (r && run->at && e->code == -EPERM) {
		log_warn("run: no private namespace is allowed here: %s is mounted in the open, and whoever enters it counts as this run", run->at);
		err_clear(e);
		r = 0;
	}
	return r;
}

static int execute(struct run *run, struct err *e)
{
	int fd = -1;
	pid_t server_pid = -1;
	int r = start_server(run, &fd, &server_pid, e);
	if (r)
		return r;
	int status = run_command(run, e);
	if (status < 0) {
		log_error("run: %s", e->text);
		status = OWN_FAILURE;
	}
	status = finish(run, status, fd, server_pid, e);
	close(fd);
	return status;
}

int cmd_run(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct run run = { 0 };
	const struct option_spec specs[] = {
		{ "--purpose", 0, OPTION_TEXT, "P", "what the data is read for", &run.purpose },
		{ "--name", 0, OPTION_TEXT, "NAME", "the run's name in the lineage (one is made up otherwise)", &run.name },
		{ "--at", 0, OPTION_TEXT, "PATH", "mount at this folder", &run.at },
		{ "--param", 0, OPTION_LIST, "K=V", "a parameter to keep with the run; may be repeated", &run.params },
		{ "--user", 0, OPTION_TEXT, "U", "for this user (root only): policy then binds", &run.user },
		{ "--output", 0, OPTION_LIST, "FILE", "what the command makes: hashed and recorded; may be repeated", &run.outputs },
	};
	int words;
	int r = options_parse("run [options] -- COMMAND …",
			      "Runs COMMAND with the mesh mounted for it alone; what it reads and publishes is recorded as one run.", specs, 6, true,
			      argc, argv, &words, e);
	if (r == OPTIONS_HELP)
		return 0;
	*ret_status = OWN_FAILURE;
	if (!r && !words)
		r = options_wrong(e, "run", "run: which command?");
	if (r)
		return r;
	run.argv = argv;
	r = prepare(&run, inv, e);
	if (!r)
		r = execute(&run, e);
	if (run.folder_made)
		remove_folder(run.folder);
	free(run.folder);
	free(run.command);
	mesh_config_free(run.mesh);
	if (r >= 0)
		*ret_status = r;
	return r < 0 ? r : 0;
}
