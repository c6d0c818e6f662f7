#include "fs/sql_engine.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "fs/sql_worker.h"
#include "policy/duckdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept_answer {
	struct kept_answer *next;
	char *query;
	double number;
	struct err why; /* code 0: there is a number */
};

struct sql_engine {
	struct quality_engine engine;
	const char *const *sources;
	size_t count;
	const char *kept; /* another folder, of files that are in no source; or NULL */
	int (*open_file)(void *arg, const char *path);
	void *arg;
	struct duckdb_session *session; /* reads Parquet; started at the first file */
	struct err why;			/* it reads nothing (sql_engine_new_absent) */
	/* Queries. */
	struct sql_bounds bounds;
	struct sql_process *process; /* started at the first query, or before */
	struct buf views, files;     /* statements that make tables; what these read: each with a NUL behind it */
	bool opened;		     /* the process has the tables, or `unopened` says why not */
	struct err unopened;
	struct kept_answer *answers; /* kept until the files change */
};

static int ready(struct sql_engine *s, struct err *e)
{
	return s->session ? 0 : duckdb_session_new(&s->session, e);
}

static bool is_folder(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Where a path of the version lies on this machine. */
static char *local_path(const struct sql_engine *s, const char *path)
{
	char *kept = s->kept ? io_join(s->kept, path) : NULL;
	if (kept && !access(kept, F_OK))
		return kept;
	free(kept);
	if (s->count == 1 && is_folder(s->sources[0]))
		return io_join(s->sources[0], path);
	size_t first = strcspn(path, "/");
	for (size_t i = 0; i < s->count; i++) {
		char *source = strdup(s->sources[i]);
		size_t n = source ? strlen(source) : 0;
		while (n > 1 && source[n - 1] == '/')
			source[--n] = '\0';
		const char *slash = source ? strrchr(source, '/') : NULL, *name = slash ? slash + 1 : source;
		char *found = name && strlen(name) == first && !strncmp(name, path, first) ? text_format("%s%s", source, path + first) : NULL;
		free(source);
		if (found)
			return found;
	}
	return NULL;
}

static const char *reader_of(const char *path)
{
	if (text_ends(path, ".parquet"))
		return "read_parquet";
	return strstr(path, ".jsonl") || strstr(path, ".ndjson") ? "read_json" : "read_csv";
}

static int make_table(void *arg, const char *name, const char *const *paths, size_t count, struct err *e)
{
	struct sql_engine *s = arg;
	struct buf pattern = BUF_INIT;
	int r = 0;
	buf_adds(&s->views, "create view ");
	buf_add_sql(&s->views, name, '"');
	buf_addf(&s->views, " as select * from %s([", reader_of(paths[0]));
	for (size_t i = 0; i < count && !r; i++) {
		char *local = local_path(s, paths[i]);
		if (!local || strcmp(reader_of(paths[i]), reader_of(paths[0])) != 0) {
			r = err_set(e, -EOPNOTSUPP, "%s: its files are of several formats", name);
		} else {
			buf_clear(&pattern);
			sql_pattern_of(local, &pattern);
			buf_adds(&s->views, i ? ", " : "");
			buf_add_sql(&s->views, buf_text(&pattern), '\'');
			buf_add(&s->files, local, strlen(local) + 1);
		}
		free(local);
	}
	buf_add(&s->views, "])", 3);
	if (!r && (buf_check(&s->views) || buf_check(&s->files) || buf_check(&pattern)))
		r = err_set(e, -ENOMEM, "out of memory");
	buf_free(&pattern);
	return r;
}

static int start(struct sql_engine *s, struct err *e)
{
	return s->process ? 0 : sql_process_new(&s->bounds, &s->process, e);
}

static int open_tables(struct sql_engine *s, struct err *e)
{
	int r = start(s, e);
	if (!r)
		r = sql_process_files(s->process, &s->files, e);
	for (size_t at = 0; at < s->views.len && !r; at += strlen(s->views.data + at) + 1)
		r = sql_process_run(s->process, s->views.data + at, e);
	return r == -EINVAL ? err_set(e, r, "the SQL engine (DuckDB) cannot read the version's files as tables") : r;
}

/* Queries come with a contract, which others may have written: they see the version's files and nothing else of this machine. */
static int ask(struct sql_engine *s, const char *query, double *ret, struct err *e)
{
	if (!s->opened)
		open_tables(s, &s->unopened);
	s->opened = true;
	return s->unopened.code ? err_move(e, &s->unopened) : sql_process_number(s->process, query, ret, e);
}

static int number(void *arg, const char *query, double *ret, struct err *e)
{
	struct sql_engine *s = arg;
	struct kept_answer *a = s->answers;
	while (a && strcmp(a->query, query) != 0)
		a = a->next;
	if (!a) {
		a = calloc(1, sizeof *a);
		if (!a || !(a->query = strdup(query))) {
			free(a);
			return err_set(e, -ENOMEM, "out of memory");
		}
		ask(s, query, &a->number, &a->why);
		a->next = s->answers;
		s->answers = a;
	}
	*ret = a->number;
	return a->why.code ? err_move(e, &a->why) : 0;
}

void sql_engine_rest(struct sql_engine *s)
{
	sql_process_free(s->process);
	s->process = NULL;
	s->opened = false;
	err_clear(&s->unopened);
	buf_clear(&s->views);
	buf_clear(&s->files);
}

void sql_engine_forget(struct sql_engine *s)
{
	if (!s)
		return;
	sql_engine_rest(s);
	while (s->answers) {
		struct kept_answer *a = s->answers;
		s->answers = a->next;
		free(a->query);
		free(a);
	}
}

void sql_engine_keep(struct sql_engine *s, const char *folder)
{
	s->kept = folder;
}

void sql_engine_start(struct sql_engine *s)
{
	if (s->engine.number == number)
		start(s, NULL); /* a failure is for the first query to tell */
}

static int open_local(void *arg, const char *path)
{
	const struct sql_engine *s = arg;
	char *local = local_path(s, path);
	const int fd = local ? open(local, O_RDONLY | O_CLOEXEC) : -1, code = local ? -errno : -ENOENT;
	free(local);
	return fd < 0 ? code : fd;
}

/* The engine gets the open file, not its name: it would take a '*' in that for a pattern. */
static int scan(void *arg, const char *path, struct quality_table *t, struct err *e)
{
	struct sql_engine *s = arg;
	char name[64];
	int r = ready(s, e);
	if (r)
		return r;
	const int fd = s->open_file(s->arg, path);
	if (fd < 0)
		return err_set(e, fd, "%s: %s", path, strerror(-fd));
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	r = duckdb_session_scan(s->session, name, t, e);
	close(fd);
	return r ? err_prefix(e, r, "%s", path) : 0;
}

static struct sql_engine *engine_new(const struct sql_bounds *bounds)
{
	struct sql_engine *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->engine = (struct quality_engine){ scan, make_table, number, s };
	s->bounds = *bounds;
	return s;
}

struct sql_engine *sql_engine_new(const char *const *sources, size_t count, const struct sql_bounds *bounds)
{
	struct sql_engine *s = engine_new(bounds);
	if (!s)
		return NULL;
	s->open_file = open_local;
	s->arg = s;
	s->sources = sources;
	s->count = count;
	return s;
}

struct sql_engine *sql_engine_new_opened(const char *const *folder, int (*open_file)(void *arg, const char *path), void *arg, const struct sql_bounds *bounds)
{
	struct sql_engine *s = engine_new(bounds);
	if (!s)
		return NULL;
	s->open_file = open_file;
	s->arg = arg;
	s->sources = folder;
	s->count = 1;
	return s;
}

static int no_scan(void *arg, const char *path, struct quality_table *t, struct err *e)
{
	const struct sql_engine *s = arg;
	(void)path, (void)t;
	return err_set(e, -EOPNOTSUPP, "%s", s->why.text);
}

static int no_table(void *arg, const char *name, const char *const *paths, size_t count, struct err *e)
{
	(void)name, (void)paths, (void)count;
	return no_scan(arg, NULL, NULL, e);
}

static int no_number(void *arg, const char *query, double *ret, struct err *e)
{
	(void)query, (void)ret;
	return no_scan(arg, NULL, NULL, e);
}

struct sql_engine *sql_engine_new_absent(const char *why)
{
	struct sql_engine *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	err_set(&s->why, -EOPNOTSUPP, "%s", why);
	s->engine = (struct quality_engine){ no_scan, no_table, no_number, s };
	return s;
}

void sql_engine_free(struct sql_engine *s)
{
	if (!s)
		return;
	sql_engine_forget(s);
	duckdb_session_free(s->session);
	buf_free(&s->views);
	buf_free(&s->files);
	free(s);
}

const struct quality_engine *sql_engine_quality(struct sql_engine *s)
{
	return &s->engine;
}
