#include "fs/daemon.h"

#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct daemon {
	bool foreground;
	int pipe; /* to the parent; -1 */
	int log;  /* -1 */
	char *log_path;
};

/* What goes through the pipe: the whole error, code 0 when ready. */
static int wait_ready(int fd, pid_t child, struct err *e)
{
	struct err answer;
	int r = io_read_full(fd, &answer, sizeof answer);
	close(fd);
	if (!r)
		return answer.code ? err_move(e, &answer) : 0;
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "the mount's process was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	return err_set(e, -EIO, "the mount's process ended before it was ready (status %d)", WEXITSTATUS(status));
}

static pid_t waited_for;
static void end_child(int sig)
{
	/* Ctrl-C while the mount is being made: the child must not go on without us. */
	kill(waited_for, SIGTERM);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A lock or the end of a pipe that the caller left open must not last as long as the mount does. */
static void close_inherited(int keep)
{
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0u, 0);
}

int daemon_fork(bool foreground, struct daemon **ret, struct err *e)
{
	int ends[2] = { -1, -1 };
	struct daemon *d = calloc(1, sizeof *d);
	if (!d)
		return err_set(e, -ENOMEM, "no memory");
	d->foreground = foreground;
	d->pipe = d->log = -1;
	*ret = d;
	if (foreground)
		return 0;
	if (pipe2(ends, O_CLOEXEC)) {
		daemon_free(d);
		return err_set(e, -errno, "cannot make a pipe: %s", strerror(errno));
	}
	pid_t child = fork();
	if (child < 0) {
		daemon_free(d);
		return err_set(e, -errno, "cannot start a process: %s", strerror(errno));
	}
	if (child > 0) {
		close(ends[1]);
		daemon_free(d);
		*ret = NULL;
		waited_for = child;
		signal(SIGINT, end_child);
		signal(SIGTERM, end_child);
		return wait_ready(ends[0], child, e);
	}
	d->pipe = ends[1];
	close_inherited(d->pipe);
	setsid();
	return 0;
}

const char *daemon_log(struct daemon *d, const char *name)
{
	char *state = io_state_folder();
	if (state)
		d->log_path = text_format("%s/log/%s.log", state, name);
	free(state);
	if (!d->log_path || io_make_parents(d->log_path, 0700, NULL))
		return NULL;
	d->log = open(d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	return d->log >= 0 ? d->log_path : NULL;
}

void daemon_ready(struct daemon *d, const struct err *problem)
{
	struct err answer = ERR_INIT;
	if (d->foreground)
		return;
	if (problem)
		answer = *problem;
	if (!problem) {
		/* The current folder would keep a file system busy; the terminal's descriptors would keep it open. */
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (chdir("/") < 0 || null < 0)
			log_warn("cannot detach: %s", strerror(errno));
		dup2(null, 0);
		dup2(null, 1);
		dup2(d->log >= 0 ? d->log : null, 2);
		log_set_output(2, 1);
		if (null > 2)
			close(null);
	}
	if (io_write_full(d->pipe, &answer, sizeof answer))
		log_debug("nobody waits for the mount");
	close(d->pipe);
	d->pipe = -1;
}

void daemon_free(struct daemon *d)
{
	if (!d)
		return;
	if (d->pipe >= 0)
		close(d->pipe);
	if (d->log >= 0)
		close(d->log);
	free(d->log_path);
	free(d);
}

static void ending_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
}

void signals_block(void)
{
	sigset_t set;
	ending_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int signals_wait(int64_t timeout_ms)
{
	sigset_t set;
	struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000 };
	ending_signals(&set);
	int sig = sigtimedwait(&set, NULL, &timeout);
	return sig > 0 ? sig : 0;
}
