#include "fs/sql_worker.h"

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "fs/sandbox.h"
#include "policy/duckdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET 0
#define MEMORY_BYTES (2ull << 30)	  /* the engine's own limit, and as much again for what it does not count */
#define MEMORY_BYTES_A_THREAD (32ull << 20)
#define NICENESS 10 /* readers of the mount come first */

struct worker {
	struct duckdb_session *session;
	struct buf request; /* its bytes, and a NUL */
};

bool sql_worker_named(const char *argv0)
{
	return !strcmp(argv0, SQL_WORKER_NAME);
}

/* -- what it may read ------------------------------------------------------------------------------- */

#define PATTERN_CHARACTERS "*?["

void sql_pattern_of(const char *path, struct buf *ret)
{
	for (; *path; path++) {
		const bool special = strchr(PATTERN_CHARACTERS, *path) != NULL;
		buf_adds(ret, special ? "[" : "");
		buf_addc(ret, *path);
		buf_adds(ret, special ? "]" : "");
	}
}

static bool is_pattern(const char *path)
{
	return strpbrk(path, PATTERN_CHARACTERS) != NULL;
}

struct names {
	const char **items;
	size_t count;
};

/* The folders that the engine lists to find a name that it takes for a pattern.  Their texts are the caller's to free. */
static int add_listed(const char *path, struct names *ret)
{
	for (size_t at = 0, len; path[at]; at += len + (path[at + len] == '/')) {
		len = strcspn(path + at, "/");
		if (strcspn(path + at, PATTERN_CHARACTERS) >= len)
			continue;
		char *folder = at ? text_format("%.*s", (int)at, path) : strdup(".");
		if (!folder)
			return -ENOMEM;
		ret->items[ret->count++] = folder;
	}
	return 0;
}

static void add_allowed(struct buf *sql, const char *path)
{
	buf_adds(sql, sql->len ? ", " : "");
	buf_add_sql(sql, path, '\'');
}

/* "SET allowed_paths=[…]": a pattern both as it is opened and as it is asked for. */
static int allow(struct worker *w, const struct names *files, struct err *e)
{
	struct buf list = BUF_INIT, pattern = BUF_INIT;
	for (size_t i = 0; i < files->count; i++) {
		add_allowed(&list, files->items[i]);
		if (is_pattern(files->items[i])) {
			buf_clear(&pattern);
			sql_pattern_of(files->items[i], &pattern);
			add_allowed(&list, buf_text(&pattern));
		}
	}
	char *sql = buf_check(&list) || buf_check(&pattern) ? NULL : text_format("SET allowed_paths=[%s]", buf_text(&list));
	int r = sql ? duckdb_session_run(w->session, sql, e) : err_set(e, -ENOMEM, "out of memory");
	free(sql);
	buf_free(&list);
	buf_free(&pattern);
	return r ? r : duckdb_session_confine(w->session, e);
}

/* The engine asks these how much memory and how many processors there are, and does not start without an answer. */
static const char *const of_machine[] = { "/proc/self/cgroup", "/sys/fs/cgroup", "/proc/meminfo", "/sys/devices/system/cpu" };
#define OF_MACHINE (sizeof of_machine / sizeof *of_machine)

static int confine(const struct names *files, struct err *e)
{
	struct names read = { 0 }, list = { 0 };
	size_t characters = 0;
	for (size_t i = 0; i < files->count; i++)
		characters += strlen(files->items[i]) + 1;
	read.items = calloc(files->count + OF_MACHINE, sizeof *read.items);
	list.items = calloc(characters + 1, sizeof *list.items);
	int r = read.items && list.items ? 0 : -ENOMEM;
	for (size_t i = 0; i < OF_MACHINE && !r; i++)
		read.items[read.count++] = of_machine[i];
	for (size_t i = 0; i < files->count && !r; i++) {
		read.items[read.count++] = files->items[i];
		r = add_listed(files->items[i], &list);
	}
	if (!r)
		r = sandbox_confine(&(struct sandbox_names){ read.items, list.items, read.count, list.count });
	for (size_t i = 0; i < list.count; i++)
		free((char *)list.items[i]);
	free(read.items);
	free(list.items);
	return r ? err_set(e, r, "the SQL engine cannot be confined to the version's files: %s", strerror(-r)) : 0;
}

/* The sandbox comes before the engine has threads. */
static int open_session(struct worker *w, struct err *e)
{
	struct names files = { 0 };
	if (w->session)
		return err_set(e, -EPROTO, "the files were named before");
	files.items = calloc(w->request.len + 1, sizeof *files.items);
	if (!files.items)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t at = 0; at < w->request.len; at += strlen(w->request.data + at) + 1)
		files.items[files.count++] = w->request.data + at;
	int r = confine(&files, e);
	if (!r)
		r = duckdb_session_new(&w->session, e);
	if (!r)
		r = allow(w, &files, e);
	free(files.items);
	return r;
}

/* -- requests --------------------------------------------------------------------------------------- */

static int answer(const struct worker *w, uint32_t kind, struct sql_answer *ret, struct err *e)
{
	const char *text = buf_text(&w->request);
	if (!w->session)
		return err_set(e, -EPROTO, "no files were named");
	if (kind == SQL_RUN)
		return duckdb_session_run(w->session, text, e);
	return duckdb_session_number(w->session, text, &ret->number, e);
}

/* One request.  Not zero: the other end is gone. */
static int serve(struct worker *w)
{
	struct sql_request head;
	struct sql_answer reply = { 0 };
	struct err e = ERR_INIT;
	int r = io_read_full(SOCKET, &head, sizeof head);
	if (r)
		return r;
	buf_clear(&w->request);
	char *room = head.len <= SQL_REQUEST_MAX ? buf_reserve(&w->request, head.len) : NULL;
	r = room ? io_read_full(SOCKET, room, head.len) : -ENOMEM;
	if (r)
		return r;
	buf_commit(&w->request, head.len);
	reply.code = head.kind == SQL_FILES ? open_session(w, &e) : answer(w, head.kind, &reply, &e);
	reply.len = reply.code ? (uint32_t)strlen(e.text) : 0;
	r = io_write_full(SOCKET, &reply, sizeof reply);
	return r ? r : io_write_full(SOCKET, e.text, reply.len);
}

int sql_worker_main(void)
{
	struct worker w = { 0 };
	const long threads = sysconf(_SC_NPROCESSORS_ONLN);
	close_range(3, ~0u, 0);
	if (sandbox_enter(MEMORY_BYTES + MEMORY_BYTES_A_THREAD * (uint64_t)(threads > 0 ? threads : 1)))
		return 1;
	if (nice(NICENESS) == -1)
		errno = 0; /* so be it */
	duckdb_engine_version(); /* loads it, from places that are out of reach later */
	while (!serve(&w))
		;
	_exit(0); /* what the engine would tidy up goes with the process */
}
