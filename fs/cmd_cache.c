/* cache status|prune|verify: looks at and mends the disk cache. */
#include "catalog/base/json.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "catalog/mesh.h"
#include "fs/cache.h"
#include "fs/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct totals {
	uint64_t blobs[3], bytes[3]; /* files, packs, views */
};

static int add_blob(void *arg, const struct blob_info *info)
{
	struct totals *t = arg;
	int k = info->kind == BLOB_FILE ? 0 : info->kind == BLOB_PACK ? 1 : 2;
	t->blobs[k]++;
	t->bytes[k] += info->allocated_bytes;
	return 0;
}

static void print_status_json(struct cache *c, const struct totals *t, const struct cache_counters *n)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "folder", cache_folder(c));
	json_field_int(&j, "bytes", (int64_t)(t->bytes[0] + t->bytes[1] + t->bytes[2]));
	json_field_int(&j, "limit", (int64_t)cache_limit(c));
	json_field_int(&j, "files", (int64_t)t->blobs[0]);
	json_field_int(&j, "packs", (int64_t)t->blobs[1]);
	json_field_int(&j, "views", (int64_t)t->blobs[2]);
	json_field_int(&j, "hits", (int64_t)n->hits);
	json_field_int(&j, "misses", (int64_t)n->misses);
	json_field_int(&j, "fetched", (int64_t)n->fetched_bytes);
	json_field_int(&j, "served", (int64_t)n->served_bytes);
	json_field_int(&j, "integrity_errors", (int64_t)n->integrity_errors);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static void print_status(struct cache *c, const struct totals *t, const struct cache_counters *n)
{
	static const char *const names[] = { "files", "packs", "views" };
	char used[TEXT_SIZE_MAX], limit[TEXT_SIZE_MAX], size[TEXT_SIZE_MAX];
	text_size(t->bytes[0] + t->bytes[1] + t->bytes[2], used);
	text_size(cache_limit(c), limit);
	printf("folder   %s\nused     %s of %s\n", cache_folder(c), used, limit);
	for (int k = 0; k < 3; k++) {
		text_size(t->bytes[k], size);
		printf("%-8s %llu (%s)\n", names[k], (unsigned long long)t->blobs[k], size);
	}
	uint64_t reads = n->hits + n->misses;
	printf("hits     %llu of %llu reads (%.1f %%)\n", (unsigned long long)n->hits, (unsigned long long)reads,
	       reads ? 100.0 * (double)n->hits / (double)reads : 0.0);
	text_size(n->fetched_bytes, used);
	text_size(n->served_bytes, size);
	printf("fetched  %s\nserved   %s\n", used, size);
	if (n->integrity_errors)
		printf("errors   %llu chunks did not match their hash\n", (unsigned long long)n->integrity_errors);
}

static int status(struct cache *c, bool json, struct err *e)
{
	struct totals t = { { 0 }, { 0 } };
	struct cache_counters n;
	int r = cache_walk(c, add_blob, &t);
	if (r)
		return err_set(e, r, "%s: cannot look through the cache: %s", cache_folder(c), strerror(-r));
	cache_counters(c, &n);
	cache_set_usage(c, t.bytes[0] + t.bytes[1] + t.bytes[2]);
	if (json)
		print_status_json(c, &t, &n);
	else
		print_status(c, &t, &n);
	return 0;
}

static void print_counts(bool json, const char *a_name, uint64_t a, const char *b_name, uint64_t b)
{
	struct buf out = BUF_INIT;
	struct json j;
	if (!json)
		return;
	json_start(&j, &out);
	json_open(&j, '{');
	json_field_int(&j, a_name, (int64_t)a);
	json_field_int(&j, b_name, (int64_t)b);
	json_close(&j, '}');
	printf("%s\n", buf_text(&out));
	buf_free(&out);
}

static int prune(struct cache *c, const char *to, bool json, bool quiet, struct err *e)
{
	uint64_t to_bytes = 0, freed, blobs;
	char size[TEXT_SIZE_MAX];
	if (to && text_parse_size(to, &to_bytes))
		return options_wrong(e, "cache", "--to %s: not a size (20GiB, 512MiB)", to);
	int r = cache_prune(c, to_bytes, &freed, &blobs, e);
	if (r)
		return r;
	text_size(freed, size);
	print_counts(json, "freed", freed, "blobs", blobs);
	if (!json && !quiet)
		printf("freed %s (%llu object%s)\n", size, (unsigned long long)blobs, blobs == 1 ? "" : "s");
	return 0;
}

static void on_progress(void *arg, uint64_t bytes)
{
	progress_add(arg, bytes);
}

static int verify(struct cache *c, bool json, bool quiet, struct err *e)
{
	uint64_t checked, bad;
	struct progress *p = progress_start("checking", "B", cache_usage(c), quiet || json);
	int r = cache_verify(c, on_progress, p, &checked, &bad, e);
	progress_end(p);
	if (r)
		return r;
	print_counts(json, "checked", checked, "bad", bad);
	if (!json && !quiet)
		printf("checked %llu chunks\n", (unsigned long long)checked);
	if (bad)
		return err_set_kind(e, ERR_INTEGRITY, -EBADMSG,
				    "%s: %llu cached chunks did not match their hash and were dropped; they are fetched again when read",
				    cache_folder(c), (unsigned long long)bad);
	return 0;
}

int cmd_cache(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	bool json = false;
	const char *to = NULL;
	const struct option_spec specs[] = {
		{ "--to", 0, OPTION_TEXT, "SIZE", "prune: keep this much, the most recently used (default: nothing)", &to },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object", &json },
	};
	int words;
	int r = options_parse("cache status|prune|verify [options]",
			      "Looks at the disk cache; makes room in it; re-hashes what it holds and drops what is damaged.", specs,
			      sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "cache", "wants one of status, prune, verify");
	bool is_status = !strcmp(argv[0], "status"), is_prune = !strcmp(argv[0], "prune"), is_verify = !strcmp(argv[0], "verify");
	if (!is_status && !is_prune && !is_verify)
		return options_wrong(e, "cache", "%s: not one of status, prune, verify", argv[0]);
	if (to && !is_prune)
		return options_wrong(e, "cache", "--to belongs to prune");
	struct mesh_config *mesh = NULL;
	struct cache *c = NULL;
	r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r)
		r = cache_open(mesh->cache_folder, mesh->cache_limit_bytes, NULL, &c, e);
	if (!r)
		r = is_status ? status(c, json, e) : is_prune ? prune(c, to, json, inv->quiet, e) : verify(c, json, inv->quiet, e);
	cache_close(c);
	mesh_config_free(mesh);
	return r;
}
