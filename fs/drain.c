#include "fs/drain.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_seal.h"
#include "fs/journal.h"
#include "fs/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PRUNE_BATCH 200000 /* reads of a transaction: a second or two */

/* The records of one batch that become one row: the same context and the same name. */
struct group {
	uint32_t context, name, process;
	int64_t opens, bytes, first_ns, last_ns;
	const char *path; /* of `name` */
	size_t path_len;
};

struct batch {
	struct lineage *l;
	struct journal *j;
	struct group *groups;
	uint32_t group_count;
	uint32_t *table; /* group numbers + 1, open addressing */
	uint32_t table_size;
	struct map *contexts;  /* offset → struct lineage_context_ids */
	struct map *processes; /* (run, offset) → int64_t id */
	int64_t damaged;
};

char *drain_folder_path(const char *db_path)
{
	return text_format("%s.journals", db_path);
}

/* -- folding --------------------------------------------------------------------------------- */

static void batch_fini(struct batch *b)
{
	map_free(b->contexts, free);
	map_free(b->processes, free);
	free(b->groups);
	free(b->table);
}

static int batch_init(struct batch *b, struct lineage *l, struct journal *j, uint32_t max)
{
	*b = (struct batch){ .l = l, .j = j };
	for (b->table_size = 64; b->table_size < 2 * max;)
		b->table_size *= 2;
	b->table = calloc(b->table_size, sizeof *b->table);
	b->groups = malloc(max * sizeof *b->groups);
	b->contexts = map_new();
	b->processes = map_new();
	return b->table && b->groups && b->contexts && b->processes ? 0 : -ENOMEM;
}

static struct group *group_of(struct batch *b, const struct journal_record *r)
{
	uint32_t at = (r->context * 2654435761u) ^ (r->name * 2246822519u);
	for (at ^= at >> 15;; at++) {
		uint32_t *slot = &b->table[at & (b->table_size - 1)];
		if (!*slot) {
			struct group *g = &b->groups[b->group_count++];
			*slot = b->group_count;
			*g = (struct group){ .context = r->context, .name = r->name, .first_ns = r->when_ns, .last_ns = r->when_ns };
			return g;
		}
		struct group *g = &b->groups[*slot - 1];
		if (g->context == r->context && g->name == r->name)
			return g;
	}
}

static void fold(struct batch *b, const struct journal_record *r)
{
	struct group *g = group_of(b, r);
	if (!g->process)
		g->process = r->process;
	if (r->when_ns < g->first_ns)
		g->first_ns = r->when_ns;
	if (r->when_ns > g->last_ns)
		g->last_ns = r->when_ns;
	if (r->kind == RECORD_OPEN)
		g->opens++;
	else
		g->bytes += (int64_t)r->amount;
}

/* -- texts ----------------------------------------------------------------------------------- */

/* Splits a text that holds `count` strings, each with its NUL.  0 or -EBADMSG. */
static int split(const char *text, size_t len, const char **ret, int count)
{
	for (int i = 0; i < count; i++) {
		const char *end = len ? memchr(text, '\0', len) : NULL;
		if (!end)
			return -EBADMSG;
		ret[i] = text;
		len -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	return len ? -EBADMSG : 0;
}

/* The context is one byte of outcome, then run, version, view, policy and rules. */
static int context_text(struct journal *j, uint32_t offset, struct lineage_context *ret)
{
	const char *text, *parts[5];
	size_t len;
	if (journal_text(j, offset, &text, &len) || len < 6 || split(text + 1, len - 1, parts, 5))
		return -EBADMSG;
	int outcome = text[0];
	if (outcome != LINEAGE_SERVED && outcome != LINEAGE_DENIED)
		return -EBADMSG;
	*ret = (struct lineage_context){ parts[0], parts[1], parts[2], parts[3], parts[4], outcome };
	return 0;
}

/* Returns -EBADMSG for damage (skip the record), other errors end the batch. */
static int resolve_context(struct batch *b, uint32_t offset, struct lineage_context_ids *ret, struct err *e)
{
	struct lineage_context_ids *known = map_get(b->contexts, &offset, sizeof offset);
	if (!known) {
		struct lineage_context c;
		if (context_text(b->j, offset, &c))
			return -EBADMSG;
		known = malloc(sizeof *known);
		int r = known ? lineage_context_get(b->l, &c, known, e) : err_set(e, -ENOMEM, "no memory to drain the lineage journal");
		if (!r && map_set(b->contexts, &offset, sizeof offset, known, NULL))
			r = err_set(e, -ENOMEM, "no memory to drain the lineage journal");
		if (r) {
			free(known);
			return r == -EBADMSG ? -EIO : r;
		}
	}
	*ret = *known;
	return 0;
}

/* The process is its pid and start as two int64, then exe and command. */
static int process_text(struct journal *j, uint32_t offset, struct lineage_process *ret)
{
	const char *text, *parts[2];
	size_t len;
	if (journal_text(j, offset, &text, &len) || len < 18 || split(text + 16, len - 16, parts, 2))
		return -EBADMSG;
	memcpy(&ret->pid, text, 8);
	memcpy(&ret->started_ns, text + 8, 8);
	ret->exe = parts[0];
	ret->command = parts[1];
	return 0;
}

static int resolve_process(struct batch *b, int64_t run, uint32_t offset, int64_t *ret, struct err *e)
{
	int64_t key[2] = { run, offset };
	int64_t *known = map_get(b->processes, key, sizeof key);
	if (!known) {
		struct lineage_process p;
		if (process_text(b->j, offset, &p))
			p = (struct lineage_process){ 0, 0, "", "" };
		known = malloc(sizeof *known);
		int r = known ? lineage_process_get(b->l, run, &p, known, e) : err_set(e, -ENOMEM, "no memory to drain the lineage journal");
		if (!r && map_set(b->processes, key, sizeof key, known, NULL))
			r = err_set(e, -ENOMEM, "no memory to drain the lineage journal");
		if (r) {
			free(known);
			return r;
		}
	}
	*ret = *known;
	return 0;
}

/* -- a batch --------------------------------------------------------------------------------- */

/* By context and path: so that files that lie together in the database's trees come together, whatever the order in which they were opened. */
static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;
	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	size_t len = x->path_len < y->path_len ? x->path_len : y->path_len;
	int order = len ? memcmp(x->path, y->path, len) : 0;
	return order ? order : (x->path_len > y->path_len) - (x->path_len < y->path_len);
}

static void join(struct group *to, const struct group *from)
{
	if (!to->process)
		to->process = from->process;
	to->opens += from->opens;
	to->bytes += from->bytes;
	to->first_ns = from->first_ns < to->first_ns ? from->first_ns : to->first_ns;
	to->last_ns = from->last_ns > to->last_ns ? from->last_ns : to->last_ns;
}

/* Leaves out what has no name any more; a name that stands in the journal more than once becomes one group. */
static void order_groups(struct batch *b)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < b->group_count; i++) {
		struct group *g = &b->groups[i];
		if (journal_text(b->j, g->name, &g->path, &g->path_len))
			b->damaged += g->opens;
		else
			b->groups[kept++] = *g;
	}
	qsort(b->groups, kept, sizeof *b->groups, compare_groups);
	b->group_count = 0;
	for (uint32_t i = 0; i < kept; i++) {
		struct group *last = b->group_count ? &b->groups[b->group_count - 1] : NULL;
		if (last && !compare_groups(last, &b->groups[i]))
			join(last, &b->groups[i]);
		else
			b->groups[b->group_count++] = b->groups[i];
	}
}

static int store_group(struct batch *b, const struct group *g, struct err *e)
{
	struct lineage_read read = { .path = g->path, .path_len = g->path_len, .opens = g->opens, .bytes = g->bytes,
				     .first_ns = g->first_ns, .last_ns = g->last_ns };
	int r = resolve_context(b, g->context, &read.context, e);
	if (r == -EBADMSG) {
		b->damaged += g->opens;
		return 0;
	}
	if (!r)
		r = resolve_process(b, read.context.run, g->process, &read.process, e);
	return r ? r : lineage_read_add(b->l, &read, e);
}

static int store_view(struct batch *b, const struct journal_record *r, struct err *e)
{
	struct lineage_context c;
	const char *text;
	size_t len;
	if (context_text(b->j, r->context, &c) || journal_text(b->j, r->name, &text, &len) || !len || text[len - 1])
		return 0;
	return lineage_view_add(b->l, c.view, text, e);
}

/* Reads records from `position`; gives where it stopped. */
static int gather(struct batch *b, uint32_t position, uint32_t max, uint32_t *ret_end, struct err *e)
{
	uint32_t end = position;
	const uint32_t count = journal_count(b->j);
	for (; end - position < max; end++) {
		struct journal_record record;
		int r = journal_read(b->j, end, count, &record);
		if (r == -ENODATA)
			break;
		if (r == -EBADMSG) {
			b->damaged++;
			continue;
		}
		if (record.kind == RECORD_VIEW)
			r = store_view(b, &record, e);
		else
			fold(b, &record);
		if (r)
			return r;
	}
	*ret_end = end;
	return 0;
}

static int store(struct batch *b, uint32_t position, uint32_t end, struct err *e)
{
	int r = 0;
	order_groups(b);
	for (uint32_t i = 0; i < b->group_count && !r; i++)
		r = store_group(b, &b->groups[i], e);
	struct journal_gap gap;
	journal_gap(b->j, &gap);
	if (!r && gap.lost)
		r = lineage_gap_set(b->l, journal_id(b->j), (int64_t)gap.lost, gap.first_ns, gap.last_ns, e);
	if (!r && b->damaged) {
		log_warn("%s: %lld damaged records of opens are lost; 'meshfs lineage verify' tells of them", journal_path(b->j),
			 (long long)b->damaged);
		r = lineage_damage_add(b->l, journal_id(b->j), b->damaged, clock_now_ns(), e);
	}
	if (!r && end != position)
		r = lineage_journal_advance(b->l, journal_id(b->j), end, e);
	return r;
}

int drain_batch(struct lineage *l, struct journal *j, uint32_t max, uint32_t *ret_position, struct err *e)
{
	struct batch b;
	int64_t position = 0;
	uint32_t end = 0;
	int r = batch_init(&b, l, j, max);
	if (r)
		err_set(e, r, "no memory to drain the lineage journal");
	if (!r)
		r = lineage_begin(l, e);
	if (!r && !journal_owned(j) && journal_gone(j)) {
		/* Drained and deleted by somebody else, so that its position may be forgotten too: not again. */
		lineage_rollback(l);
		*ret_position = journal_count(j);
		batch_fini(&b);
		return 0;
	}
	if (!r)
		r = lineage_journal_position(l, journal_id(j), &position, e);
	if (!r && journal_owned(j) && position < (int64_t)*ret_position)
		position = *ret_position; /* its file was deleted, and then its position: the owner remembers */
	if (!r)
		r = gather(&b, (uint32_t)position, max, &end, e);
	if (!r)
		r = store(&b, (uint32_t)position, end, e);
	if (!r)
		r = lineage_commit(l, e);
	if (r)
		lineage_rollback(l);
	else
		*ret_position = end;
	batch_fini(&b);
	return r;
}

/* -- a folder -------------------------------------------------------------------------------- */

static int drain_whole(struct lineage *l, struct journal *j, struct err *e)
{
	uint32_t before, position = UINT32_MAX;
	int r;
	do {
		before = position;
		r = drain_batch(l, j, DRAIN_BATCH, &position, e);
	} while (!r && position != before);
	return r;
}

static int drain_one(struct lineage *l, const char *path, struct err *e)
{
	struct journal *j;
	struct err why = ERR_INIT;
	int r = journal_open(path, &j, &why);
	if (r == -ENOENT || r == -EACCES)
		return 0; /* gone meanwhile, or another user's */
	if (r == -EBADMSG) {
		log_warn("%s; it is left as it is", why.text);
		return 0;
	}
	if (r)
		return err_move(e, &why);
	bool dead = journal_adopt(j);
	r = drain_whole(l, j, e);
	if (!r && dead)
		journal_unlink(j); /* one that stays is drained again, and adds nothing */
	journal_close(j);
	return r;
}

/* Half-made segments of processes that died while making them. */
static void remove_temporary(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && time(NULL) - st.st_mtime > 60 && !flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	close(fd);
}

static bool journal_exists(void *arg, const char *id)
{
	char *path = text_format("%s/%s" JOURNAL_SUFFIX, (const char *)arg, id);
	bool there = !path || !access(path, F_OK);
	free(path);
	return there;
}

static bool owner_alive(void *arg, const char *owner)
{
	(void)arg;
	return process_owner_alive(owner);
}

static int drain_files(struct lineage *l, const char *folder, struct err *e)
{
	DIR *d = opendir(folder);
	if (!d)
		return errno == ENOENT ? 0 : err_set(e, -errno, "%s: %s", folder, strerror(errno));
	int r = 0;
	for (struct dirent *entry; !r && (entry = readdir(d));) {
		char *path = text_format("%s/%s", folder, entry->d_name);
		if (!path)
			r = err_set(e, -ENOMEM, "no memory for a path");
		else if (text_ends(entry->d_name, JOURNAL_SUFFIX))
			r = drain_one(l, path, e);
		else if (text_ends(entry->d_name, ".new"))
			remove_temporary(path);
		free(path);
	}
	closedir(d);
	return r;
}

static int reap_and_seal(struct lineage *l, const char *folder, struct err *e)
{
	int r = lineage_begin(l, e);
	if (!r)
		r = lineage_runs_reap(l, owner_alive, NULL, e);
	if (!r)
		r = lineage_seal_due(l, clock_now_ns(), e);
	if (!r)
		r = lineage_journals_tidy(l, journal_exists, (void *)(uintptr_t)folder, e);
	if (!r)
		r = lineage_commit(l, e);
	if (r)
		lineage_rollback(l);
	return r;
}

int drain_folder(struct lineage *l, struct err *e)
{
	char *folder = drain_folder_path(lineage_path(l));
	if (!folder)
		return err_set(e, -ENOMEM, "no memory for a path");
	int r = drain_files(l, folder, e);
	if (!r)
		r = reap_and_seal(l, folder, e);
	free(folder);
	return r;
}

int drain_tidy(struct lineage *l, int64_t keep_ms, bool *ret_more, struct err *e)
{
	const int64_t now = clock_now_ns();
	struct lineage_prune p = { .before_ns = now - keep_ms * 1000000, .now_ns = now, .rows_max = PRUNE_BATCH };
	char *folder = drain_folder_path(lineage_path(l));
	int r = folder ? reap_and_seal(l, folder, e) : err_set(e, -ENOMEM, "no memory for a path");
	if (!r && keep_ms)
		r = lineage_prune(l, &p, e);
	*ret_more = !r && p.more;
	if (!r && p.rows)
		log_info("lineage: %lld reads of %lld runs were older than lineage.keep, and are pruned", (long long)p.rows, (long long)p.runs);
	if (!r && p.changed)
		log_warn("%s: %lld days of runs were changed after they were sealed, and are not pruned: ask 'meshfs lineage verify'", lineage_path(l),
			 (long long)p.changed);
	free(folder);
	return r;
}

int drain_open(const struct mesh_config *mesh, struct lineage **ret, struct err *e)
{
	struct lineage *l;
	int r = lineage_open(mesh->lineage_db, &l, e);
	if (r)
		return r;
	r = drain_folder(l, e);
	if (r)
		lineage_close(l);
	else
		*ret = l;
	return r;
}
