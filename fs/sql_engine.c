#include "fs/sql_engine.h"

#include "catalog/base/io.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "policy/duckdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sql_engine {
	struct quality_engine engine;
	const char *const *sources;
	size_t count;
	int (*open_file)(void *arg, const char *path);
	void *arg;
	struct duckdb_session *session; /* started at the first question, or by `starter` */
	pthread_t starter;
	bool starting; /* the session is the starter's until it is joined */
	struct err why; /* its session did not start */
	struct buf allowed; /* SQL: files of tables, which queries may open, and no others */
	bool confined;
};

static void *start(void *arg)
{
	struct sql_engine *s = arg;
	duckdb_session_new(&s->session, &s->why);
	return NULL;
}

void sql_engine_start(struct sql_engine *s)
{
	if (!s->starting && !s->session && !s->why.code)
		s->starting = !thread_start(&s->starter, "mesh-sql", start, s);
}

static void join(struct sql_engine *s)
{
	if (s->starting)
		pthread_join(s->starter, NULL);
	s->starting = false;
}

static int ready(struct sql_engine *s, struct err *e)
{
	join(s);
	if (!s->session && s->why.code)
		return err_move(e, &s->why);
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
	struct buf sql = BUF_INIT;
	int r = ready(s, e);
	buf_adds(&sql, "create view ");
	buf_add_sql(&sql, name, '"');
	buf_addf(&sql, " as select * from %s([", reader_of(paths[0]));
	for (size_t i = 0; i < count && !r; i++) {
		char *local = local_path(s, paths[i]);
		if (!local || strcmp(reader_of(paths[i]), reader_of(paths[0])) != 0)
			r = err_set(e, -EOPNOTSUPP, "%s: its files are of several formats", name);
		else {
			buf_adds(&sql, i ? ", " : "");
			buf_add_sql(&sql, local, '\'');
			buf_adds(&s->allowed, s->allowed.len ? ", " : "");
			buf_add_sql(&s->allowed, local, '\'');
		}
		free(local);
	}
	buf_adds(&sql, "])");
	if (!r)
		r = buf_check(&sql);
	if (!r)
		r = duckdb_session_run(s->session, buf_text(&sql), e);
	buf_free(&sql);
	return r;
}

/* Queries come with a contract, which others may have written: they see the version's files and nothing else of this machine. */
static int confine(struct sql_engine *s, struct err *e)
{
	struct buf sql = BUF_INIT;
	if (s->confined)
		return 0;
	buf_addf(&sql, "SET allowed_paths=[%s]", buf_text(&s->allowed));
	int r = buf_check(&sql) || buf_check(&s->allowed) ? err_set(e, -ENOMEM, "out of memory") : duckdb_session_run(s->session, buf_text(&sql), e);
	if (!r)
		r = duckdb_session_confine(s->session, e);
	s->confined = !r;
	buf_free(&sql);
	return r;
}

static int number(void *arg, const char *query, double *ret, struct err *e)
{
	struct sql_engine *s = arg;
	int r = ready(s, e);
	if (!r)
		r = confine(s, e);
	return r ? r : duckdb_session_number(s->session, query, ret, e);
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

static struct sql_engine *engine_new(void)
{
	struct sql_engine *s = calloc(1, sizeof *s);
	if (s)
		s->engine = (struct quality_engine){ .scan = scan, .arg = s };
	return s;
}

struct sql_engine *sql_engine_new_reader(int (*open_file)(void *arg, const char *path), void *arg)
{
	struct sql_engine *s = engine_new();
	if (s) {
		s->open_file = open_file;
		s->arg = arg;
	}
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

struct sql_engine *sql_engine_new(const char *const *sources, size_t count)
{
	struct sql_engine *s = engine_new();
	if (!s)
		return NULL;
	s->engine.table = make_table;
	s->engine.number = number;
	s->open_file = open_local;
	s->arg = s;
	s->sources = sources;
	s->count = count;
	return s;
}

void sql_engine_free(struct sql_engine *s)
{
	if (!s)
		return;
	join(s);
	duckdb_session_free(s->session);
	buf_free(&s->allowed);
	free(s);
}

const struct quality_engine *sql_engine_quality(struct sql_engine *s)
{
	return &s->engine;
}
