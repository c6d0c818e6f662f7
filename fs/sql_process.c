#include "fs/sql_process.h"

#include "catalog/base/clock.h"
#include "fs/sql_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 50 /* how often it is looked whether the caller wants to end */

struct sql_process {
	struct sql_bounds bounds;
	int64_t left_ms;
	pid_t pid;
	int socket; /* -1: it is over, and `why` says why */
	struct err why;
};

/* -- the process ------------------------------------------------------------------------------------ */

/* The engine's library is all that it needs to know of this machine. */
static int spawn(int socket, pid_t *ret)
{
	static char name[] = SQL_WORKER_NAME;
	char *const argv[] = { name, NULL };
	char *environment[2] = { NULL, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, usual;
	for (char **v = environ; *v; v++)
		if (!strncmp(*v, "MESHFS_DUCKDB=", 14))
			environment[0] = *v;
	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	int r = posix_spawn_file_actions_init(&actions);
	if (r)
		return -r;
	r = posix_spawnattr_init(&attributes);
	if (!r) {
		/* A group of its own: what the terminal sends is ours to pass on. */
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
		posix_spawnattr_setsigmask(&attributes, &none);
		posix_spawnattr_setsigdefault(&attributes, &usual);
		r = posix_spawn_file_actions_adddup2(&actions, socket, 0);
		for (int fd = 1; fd <= 2 && !r; fd++) /* a library's last words may quote values */
			r = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
		if (!r)
			r = posix_spawn(ret, "/proc/self/exe", &actions, &attributes, argv, environment);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

int sql_process_new(const struct sql_bounds *bounds, struct sql_process **ret, struct err *e)
{
	int pair[2];
	struct sql_process *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		free(p);
		return err_set(e, -errno, "cannot make a socket pair: %s", strerror(errno));
	}
	*p = (struct sql_process){ .bounds = *bounds, .left_ms = bounds->time_ms, .socket = pair[0] };
	int r = spawn(pair[1], &p->pid);
	close(pair[1]);
	if (r) {
		close(pair[0]);
		free(p);
		return err_set(e, r, "the process of the SQL engine cannot be started: %s", strerror(-r));
	}
	*ret = p;
	return 0;
}

/* Returns the signal that it ended by, or 0. */
static int end(struct sql_process *p)
{
	int status = 0;
	if (p->socket < 0)
		return 0;
	close(p->socket);
	p->socket = -1;
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

void sql_process_free(struct sql_process *p)
{
	if (!p)
		return;
	end(p);
	free(p);
}

/* -- talking to it ---------------------------------------------------------------------------------- */

static bool is_interrupted(const struct sql_process *p)
{
	return p->bounds.interrupted && atomic_load(p->bounds.interrupted);
}

/* Waits until something can be sent or received. */
static int wait_for(const struct sql_process *p, short events, int64_t deadline_ms)
{
	struct pollfd fd = { p->socket, events, 0 };
	for (;;) {
		const int64_t left = deadline_ms - clock_mono_ms();
		if (is_interrupted(p))
			return -EINTR;
		if (left <= 0)
			return -ETIME;
		const int n = poll(&fd, 1, left < LOOK_MS ? (int)left : LOOK_MS);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int send_all(const struct sql_process *p, const void *bytes, size_t len, int64_t deadline_ms)
{
	const char *at = bytes;
	int r = 0;
	while (len && !(r = wait_for(p, POLLOUT, deadline_ms))) {
		const ssize_t n = send(p->socket, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -EIO;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return r;
}

static int receive_all(const struct sql_process *p, void *bytes, size_t len, int64_t deadline_ms)
{
	char *at = bytes;
	int r = 0;
	while (len && !(r = wait_for(p, POLLIN, deadline_ms))) {
		const ssize_t n = recv(p->socket, at, len, MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -EIO;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return r;
}

static int exchange(const struct sql_process *p, const struct sql_request *head, const void *bytes, int64_t deadline_ms, struct sql_answer *ret,
		    char text[ERR_TEXT_MAX])
{
	int r = send_all(p, head, sizeof *head, deadline_ms);
	if (!r)
		r = send_all(p, bytes, head->len, deadline_ms);
	if (!r)
		r = receive_all(p, ret, sizeof *ret, deadline_ms);
	if (!r && ret->len >= ERR_TEXT_MAX)
		r = -EIO;
	if (!r)
		r = receive_all(p, text, ret->len, deadline_ms);
	text[r ? 0 : ret->len] = '\0';
	return r;
}

static void say_time(int64_t ms, char ret[32])
{
	snprintf(ret, 32, ms % 1000 ? "%.1f s" : "%.0f s", (double)ms / 1000);
}

/* It will not answer again.  `r` says what came between. */
static int give_up(struct sql_process *p, int r, struct err *e)
{
	char time[32];
	const int signal = end(p);
	say_time(p->bounds.time_ms, time);
	if (r == -EINTR) {
		err_set(&p->why, r, "interrupted");
		return err_move(e, &p->why);
	}
	if (r == -ETIME) {
		err_set(&p->why, r, "not asked: the sql checks before it took the %s that all of a version have (sql_limit in mesh.yaml)", time);
		return err_set(e, r, "stopped: the sql checks of a version have %s together; make the query cheaper, or raise sql_limit in mesh.yaml", time);
	}
	err_set(&p->why, -EIO, "not asked: the SQL engine ended at a check before it");
	return err_set(e, -EIO, "the SQL engine ended over it (signal %d), as it does when a query wants more memory than it gets; make the query cheaper", signal);
}

static int ask(struct sql_process *p, uint32_t kind, const void *bytes, size_t len, double *ret, struct err *e)
{
	const struct sql_request head = { kind, (uint32_t)len };
	struct sql_answer answer = { 0 };
	char text[ERR_TEXT_MAX];
	if (p->socket < 0)
		return err_move(e, &p->why);
	if (len > SQL_REQUEST_MAX)
		return err_set(e, -E2BIG, "too many files for the SQL engine");
	const int64_t start_ms = clock_mono_ms();
	int r = exchange(p, &head, bytes, start_ms + p->left_ms, &answer, text);
	p->left_ms -= clock_mono_ms() - start_ms;
	if (r)
		return give_up(p, r == -EINTR || r == -ETIME ? r : -EIO, e);
	if (answer.code)
		return err_set(e, answer.code < 0 ? answer.code : -EIO, "%s", text);
	if (ret)
		*ret = answer.number;
	return 0;
}

int sql_process_files(struct sql_process *p, const struct buf *paths, struct err *e)
{
	return ask(p, SQL_FILES, buf_text(paths), paths->len, NULL, e);
}

int sql_process_run(struct sql_process *p, const char *sql, struct err *e)
{
	return ask(p, SQL_RUN, sql, strlen(sql), NULL, e);
}

int sql_process_number(struct sql_process *p, const char *query, double *ret, struct err *e)
{
	return ask(p, SQL_NUMBER, query, strlen(query), ret, e);
}
