#include "fs/publish_kept.h"

#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "fs/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (1u << 20)

struct kept {
	struct publish_observer observer;
	const struct publish_observer *next;
	struct map *added; /* paths */
	char *folder;	   /* of what an engine reads; NULL: none yet */
};

/* The pass over what is kept. */
struct pass {
	struct kept *kept;
	struct reader *reader;
	struct domain *domain;
	struct manifest *manifest;
	const struct publish_observer *gate;
	struct sql_engine *engine;
	const struct contract *contract;
	bool queries;
	char *piece;
	struct err *e;
};

/* -- what is added ------------------------------------------------------------------------------- */

static int on_begin(void *arg, const char *path, uint64_t size, struct err *e)
{
	struct kept *k = arg;
	if (map_sets(k->added, path, k))
		return err_set(e, -ENOMEM, "out of memory");
	return k->next->file_begin(k->next->arg, path, size, e);
}

static int on_bytes(void *arg, const char *path, const void *bytes, size_t len, struct err *e)
{
	struct kept *k = arg;
	return k->next->bytes(k->next->arg, path, bytes, len, e);
}

static int on_end(void *arg, const char *path, struct err *e)
{
	struct kept *k = arg;
	return k->next->file_end(k->next->arg, path, e);
}

struct kept *kept_new(const struct publish_observer *next)
{
	struct kept *k = calloc(1, sizeof *k);
	if (!k || !(k->added = map_new())) {
		free(k);
		return NULL;
	}
	k->next = next;
	k->observer = (struct publish_observer){ on_begin, on_bytes, on_end, k };
	return k;
}

void kept_free(struct kept *k)
{
	if (!k)
		return;
	if (k->folder)
		io_remove_tree(k->folder, NULL);
	free(k->folder);
	map_free(k->added, NULL);
	free(k);
}

const struct publish_observer *kept_observer(struct kept *k)
{
	return &k->observer;
}

/* -- what is kept ---------------------------------------------------------------------------------- */

static int make_folder(struct kept *k, struct sql_engine *engine, struct err *e)
{
	if (k->folder)
		return 0;
	int r = io_make_scratch_folder("meshfs", &k->folder);
	if (r)
		return err_set(e, r, "no place for files that the checks read: %s; TMPDIR can name another", strerror(-r));
	sql_engine_keep(engine, k->folder);
	return 0;
}

static int open_copy(struct pass *x, const char *path, int *ret_fd)
{
	int r = make_folder(x->kept, x->engine, x->e);
	char *copy = r ? NULL : io_join(x->kept->folder, path), *slash = copy ? strrchr(copy, '/') : NULL;
	if (r)
		return r;
	if (!slash)
		return err_set(x->e, -ENOMEM, "out of memory");
	*slash = '\0';
	r = io_make_folders(copy, 0700, x->e);
	*slash = '/';
	if (!r && (*ret_fd = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		r = err_set(x->e, -errno, "%s: %s", copy, strerror(errno));
	free(copy);
	return r;
}

/* The bytes to a copy (`fd` of 0 or more), and to the gate (`feed`). */
static int pass_on(struct pass *x, struct content *content, const char *path, uint64_t size, int fd, bool feed)
{
	int r = 0;
	for (uint64_t at = 0; at < size && !r;) {
		const size_t n = size - at < PIECE_BYTES ? (size_t)(size - at) : PIECE_BYTES;
		r = content_read_wait(content, at, x->piece, n, x->e);
		if (!r && fd >= 0 && (r = io_write_full(fd, x->piece, n)))
			err_set(x->e, r, "%s: no room for a copy that the checks read: %s", path, strerror(-r));
		if (!r && feed)
			r = x->gate->bytes(x->gate->arg, path, x->piece, n, x->e);
		at += n;
	}
	return r;
}

/* The gate has the engine read Parquet from its first word on: the copy is made before. */
static int check_file(struct pass *x, const struct manifest_entry *entry, const char *path)
{
	const bool parquet = text_ends(path, ".parquet");
	struct content *content = NULL;
	int fd = -1, r = content_get(x->reader, x->domain, x->manifest, entry, path, NULL, &content, x->e);
	if (!r && x->engine && (parquet || x->queries))
		r = open_copy(x, path, &fd);
	if (!r && parquet && fd >= 0)
		r = pass_on(x, content, path, entry->size, fd, false);
	if (!r)
		r = x->gate->file_begin(x->gate->arg, path, entry->size, x->e);
	if (!r && !parquet)
		r = pass_on(x, content, path, entry->size, fd, true);
	if (!r)
		r = x->gate->file_end(x->gate->arg, path, x->e);
	if (fd >= 0)
		close(fd);
	content_unref(content);
	return r;
}

static int check_entry(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct pass *x = arg;
	const struct contract_object *o = contract_object_for(x->contract, path);
	if (entry->kind != ENTRY_FILE || map_gets(x->kept->added, path) || ((!o || o->document) && !path_is_tabular(path)))
		return 0;
	return check_file(x, entry, path);
}

static int open_base(struct pass *x, const char *product, const char *version)
{
	struct snapshot *s = domain_snapshot(x->domain);
	struct version_info v;
	int r = s ? snapshot_version(s, product, version, &v) : -ENOENT;
	if (r) {
		err_set(x->e, r, "%s/%s/%s: the version to build onto is gone", domain_name(x->domain), product, version);
	} else {
		r = domain_manifest(x->domain, product, &v, &x->manifest, x->e);
		version_info_fini(&v);
	}
	snapshot_unref(s);
	return r;
}

int kept_check(struct kept *k, const struct domain_command *c, struct publication *p, const char *product, struct gate *gate, struct sql_engine *engine,
	       struct err *e)
{
	char version[VERSION_SIZE];
	const struct reader_config config = { .cache_folder = c->mesh->cache_folder, .cache_limit_bytes = c->mesh->cache_limit_bytes };
	struct pass x = { .kept = k, .domain = c->domain, .gate = gate_observer(gate), .engine = engine, .contract = publish_contract(p),
			  .queries = gate_wants_engine(gate), .e = e };
	if (!x.contract || !gate_checks(gate) || !publish_onto(p, version))
		return 0;
	int r = publish_flush(p, e);
	if (!r && !(x.piece = malloc(PIECE_BYTES)))
		r = err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = open_base(&x, product, version);
	if (!r)
		r = reader_start(&config, c->transfer, &x.reader, e);
	if (!r)
		r = manifest_walk(x.manifest, check_entry, &x);
	if (x.reader)
		reader_stop(x.reader);
	manifest_unref(x.manifest);
	free(x.piece);
	return r && !e->code ? err_set(e, r, "%s/%s/%s: its files cannot be read for the checks: %s", domain_name(c->domain), product, version, strerror(-r)) : r;
}
