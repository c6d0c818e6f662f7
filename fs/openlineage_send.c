#include "fs/openlineage_send.h"

#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_spool.h"
#include "catalog/store/poster.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct sending {
	struct lineage *l;
	const struct mesh_config *mesh;
	const struct openlineage_contracts *contracts;
	const char *target; /* as it stands in the spool */
	int kind;
	struct poster *poster; /* or */
	int fd;
	bool first; /* of a file: what is sent first may be there already */
	struct err *e;
};

/* -- making ------------------------------------------------------------------------------------ */

static int make_event(void *arg, const struct lineage_run_row *run)
{
	struct sending *s = arg;
	struct buf body = BUF_INIT;
	int r = openlineage_event(s->l, s->mesh, s->contracts, run, s->kind == LINEAGE_EVENT_START, &body, s->e);
	if (!r)
		r = lineage_spool_put(s->l, s->target, run->id, s->kind, body.data, body.len, s->e);
	buf_free(&body);
	return r;
}

static int make_batch(struct sending *s, int kind, size_t *ret_count)
{
	char **runs = NULL;
	size_t count = 0;
	int r = lineage_spool_due(s->l, s->target, kind, &runs, &count, s->e);
	s->kind = kind;
	for (size_t i = 0; i < count; i++) {
		if (!r)
			r = lineage_runs(s->l, runs[i], make_event, s, s->e);
		free(runs[i]);
	}
	free(runs);
	*ret_count += count;
	return r;
}

/* A batch a transaction, so that others can write in between. */
static int make_events(struct sending *s)
{
	size_t made;
	int r;
	do {
		made = 0;
		r = lineage_begin(s->l, s->e);
		if (!r)
			r = make_batch(s, LINEAGE_EVENT_START, &made);
		if (!r)
			r = make_batch(s, LINEAGE_EVENT_END, &made);
		if (!r)
			r = lineage_commit(s->l, s->e);
	} while (!r && made);
	if (r)
		lineage_rollback(s->l);
	return r;
}

/* -- sending ------------------------------------------------------------------------------------- */

static int file_err(struct sending *s, const char *what)
{
	int code = errno;
	return err_set(s->e, -code, "%s: cannot be %s: %s", s->target, what, strerror(code));
}

/* Does the file end with these bytes, or with the start of them (a line that was being written when the writer died)?  The start is cut off. */
static int settle_tail(struct sending *s, const char *body, size_t len, bool *ret_there)
{
	struct stat st;
	*ret_there = false;
	if (fstat(s->fd, &st))
		return file_err(s, "looked at");
	size_t n = (uint64_t)st.st_size < len ? (size_t)st.st_size : len;
	char *tail = malloc(n + 1);
	if (!tail)
		return err_set(s->e, -ENOMEM, "out of memory");
	int r = pread(s->fd, tail, n, st.st_size - (off_t)n) == (ssize_t)n ? 0 : file_err(s, "read");
	if (!r && n == len && !memcmp(tail, body, len)) {
		*ret_there = true;
	} else if (!r && n && tail[n - 1] != '\n') {
		const char *line = memrchr(tail, '\n', n);
		size_t part = n - (line ? (size_t)(line + 1 - tail) : 0);
		if ((line || n == (size_t)st.st_size) && !memcmp(line ? line + 1 : tail, body, part))
			r = ftruncate(s->fd, st.st_size - (off_t)part) ? file_err(s, "mended") : 0;
		else
			r = err_set(s->e, -EINVAL, "%s does not end with a whole line: it holds something else than events", s->target);
	}
	free(tail);
	return r;
}

static int append(struct sending *s, const char *body, size_t len)
{
	bool there = false;
	int r = s->first ? settle_tail(s, body, len, &there) : 0;
	s->first = false;
	for (size_t at = there ? len : 0; !r && at < len;) {
		ssize_t n = write(s->fd, body + at, len - at);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno != EINTR)
			r = file_err(s, "written");
	}
	return r;
}

static int send_all(struct sending *s, int64_t *ret_sent)
{
	int64_t id, left = 0;
	char *body = NULL;
	size_t len;
	int r;
	while (!(r = lineage_spool_first(s->l, s->target, &id, &body, &len, s->e))) {
		/* Without the line's end: the body of a request is one JSON object. */
		r = s->poster ? poster_send(s->poster, body, len ? len - 1 : 0, s->e) : append(s, body, len);
		free(body);
		if (r)
			break;
		r = lineage_spool_take(s->l, id, s->e);
		if (r)
			break;
		++*ret_sent;
	}
	if (r == -ENOENT && (!s->e || !s->e->code))
		r = 0;
	if (!r && s->fd >= 0 && fdatasync(s->fd))
		r = file_err(s, "written");
	if (r && !lineage_spool_count(s->l, s->target, &left, NULL) && left)
		err_prefix(s->e, r, "%lld events wait, and the same command sends them", (long long)left);
	return r;
}

/* -- targets --------------------------------------------------------------------------------------- */

static bool is_url(const char *target)
{
	return text_starts(target, "http://") || text_starts(target, "https://");
}

/* A collector's address without a path gets the usual one; a file's path becomes absolute, so that it is the same target from everywhere. */
static char *target_name(const char *target, struct err *e)
{
	if (!is_url(target)) {
		char *slash = strrchr(target, '/'), *folder = slash ? strndup(target, (size_t)(slash - target) + 1) : strdup(".");
		char *real = folder ? realpath(folder, NULL) : NULL;
		char *name = real ? text_format("%s/%s", strcmp(real, "/") ? real : "", slash ? slash + 1 : target) : NULL;
		if (!name)
			err_set(e, -errno, "%s: there is no such folder", target);
		free(folder);
		free(real);
		return name;
	}
	const char *host = strstr(target, "://") + 3, *path = strchr(host, '/');
	char *name = !path ? text_format("%s/api/v1/lineage", target) : path[1] ? strdup(target) : text_format("%sapi/v1/lineage", target);
	if (!name)
		err_set(e, -ENOMEM, "out of memory");
	return name;
}

static int open_target(struct sending *s, struct transfer *t)
{
	if (is_url(s->target)) {
		const char *key = getenv("OPENLINEAGE_API_KEY");
		if (key && strpbrk(key, "\r\n"))
			return err_set(s->e, -EINVAL, "OPENLINEAGE_API_KEY holds a line end");
		char *headers = key && *key ? text_format("Content-Type: application/json\nAuthorization: Bearer %s\n", key)
					    : strdup("Content-Type: application/json\n");
		int r = headers ? poster_open(t, "openlineage", s->target, headers, &s->poster, s->e) : err_set(s->e, -ENOMEM, "out of memory");
		free(headers);
		return r;
	}
	s->fd = open(s->target, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	return s->fd < 0 ? file_err(s, "opened") : 0;
}

/* One sender a database: two would send the same event. */
static int lock_sender(const struct lineage *l, int *ret_fd, struct err *e)
{
	char *path = text_format("%s.export", lineage_path(l));
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1, r = 0;
	if (fd < 0)
		r = err_set(e, path ? -errno : -ENOMEM, "%s: cannot be opened: %s", path ? path : "the lock", strerror(errno));
	else if (flock(fd, LOCK_EX | LOCK_NB))
		r = err_set(e, -EBUSY, "another export of this database is under way");
	if (r && fd >= 0)
		close(fd);
	free(path);
	*ret_fd = fd;
	return r;
}

int openlineage_send(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts, struct transfer *t,
		     const char *target, int64_t *ret_sent, struct err *e)
{
	struct err why = ERR_INIT;
	struct sending s = { .l = l, .mesh = mesh, .contracts = contracts, .fd = -1, .first = true, .e = &why };
	int lock = -1;
	*ret_sent = 0;
	char *name = target_name(target, &why);
	s.target = name;
	int r = name ? lock_sender(l, &lock, &why) : why.code;
	if (!r) {
		r = lineage_spool_open(l, &why);
		if (!r)
			r = make_events(&s);
		if (!r)
			r = open_target(&s, t);
		if (!r)
			r = send_all(&s, ret_sent);
		close(lock);
	}
	poster_close(s.poster);
	if (s.fd >= 0)
		close(s.fd);
	free(name);
	return r ? err_move(e, &why) : 0;
}
