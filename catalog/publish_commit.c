/* The end of a publication: the manifest is written and put, then the catalog is changed. */
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/heads.h"
#include "catalog/publish_private.h"
#include "catalog/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- building onto an earlier version ------------------------------------------------------- */

#define CHUNKS_STEP 256

struct restage {
	struct publication *p;
	struct manifest *manifest;
	uint32_t *packs; /* manifest number → stage number */
	size_t pack_count;
	struct manifest_chunk chunks[CHUNKS_STEP];
	struct leaf leaves[LEAVES_MAX]; /* of one chunk */
	struct err *e;
	int code;
};

static int restage_pack(void *arg, uint32_t number, const struct manifest_pack *pack)
{
	struct restage *x = arg;
	if (number >= PUBLISH_PACKS_MAX)
		return -EBADMSG;
	if (number >= x->pack_count) {
		uint32_t *more = realloc(x->packs, (number + 64) * sizeof *more);
		if (!more)
			return -ENOMEM;
		memset(more + x->pack_count, 0, (number + 64 - x->pack_count) * sizeof *more);
		x->packs = more;
		x->pack_count = number + 64;
	}
	return stage_pack(x->p->stage, pack, &x->packs[number], x->e);
}

static int restage_chunks(struct restage *x, const struct manifest_entry *en, uint64_t *ret_first)
{
	for (uint32_t at = 0; at < en->chunk_count;) {
		uint32_t n = en->chunk_count - at < CHUNKS_STEP ? en->chunk_count - at : CHUNKS_STEP;
		int r = manifest_chunks(x->manifest, en->row, at, n, x->chunks);
		for (uint32_t i = 0; i < n && !r; i++) {
			struct manifest_chunk *c = &x->chunks[i];
			uint64_t id;
			if (c->pack >= x->pack_count || !x->packs[c->pack])
				return -EBADMSG;
			c->pack = x->packs[c->pack];
			r = manifest_leaves(x->manifest, en->row, at + i, c, x->leaves);
			if (!r)
				r = stage_chunk(x->p->stage, c, x->leaves, &id, x->e);
			if (!r && at + i == 0)
				*ret_first = id;
		}
		if (r)
			return r;
		at += n;
	}
	return 0;
}

static int restage_entry(void *arg, const struct manifest_entry *en, const char *path)
{
	struct restage *x = arg;
	struct buf target = BUF_INIT;
	uint64_t first = 0;
	if (en->kind == ENTRY_FILE)
		x->code = restage_chunks(x, en, &first);
	else if (en->kind == ENTRY_SYMLINK)
		x->code = manifest_link(x->manifest, en->row, &target);
	if (!x->code)
		x->code = stage_put(x->p->stage, path, en, first, en->kind == ENTRY_SYMLINK ? buf_text(&target) : NULL, target.len, true, x->e);
	buf_free(&target);
	return x->code;
}

int publish_stage_version(struct publication *p, struct manifest *m, struct err *e)
{
	struct restage x = { .p = p, .manifest = m, .e = e };
	int r = manifest_packs(m, restage_pack, &x);
	if (!r)
		r = manifest_walk(m, restage_entry, &x);
	if (!r)
		r = x.code;
	free(x.packs);
	if (r && (!e || !e->code))
		err_set(e, r, "cannot read the manifest of %s/%s/%s", manifest_info(m)->domain, p->product, manifest_info(m)->version);
	return r;
}

/* -- the same address again ----------------------------------------------------------------- */

static int refuse_other(const struct publication *p, const char *what, struct err *e)
{
	return err_set(e, -EPERM, "%s/%s/%s is published already with other %s, and a version never changes; publish under a new number (--bump)",
		       domain_name(p->domain), p->product, p->version, what);
}

/* Is what was staged the version that stands there?  0 or -EPERM. */
static int compare_same(const struct publication *p, const struct manifest *same, const struct digest *contract,
			const struct stage_result *staged, struct err *e)
{
	struct digest given;
	if (!digest_equal(&manifest_info(same)->tree, &staged->tree))
		return refuse_other(p, "content", e);
	if (p->contract_given) {
		sha256_of(p->contract_text.data, p->contract_text.len, &given);
		if (!digest_equal(&given, contract))
			return refuse_other(p, "a contract", e);
	}
	return 0;
}

/* Another publisher was first with the number. */
static int compare_winner(struct publication *p, const struct stage_result *staged, struct err *e)
{
	struct version_info v;
	struct manifest *m = NULL;
	struct snapshot *s = NULL;
	int r = domain_refresh(p->domain, NULL, e);
	if (!r)
		s = domain_snapshot(p->domain);
	if (!r)
		r = s ? snapshot_version(s, p->product, p->version, &v) : -EIO;
	if (r) {
		snapshot_unref(s);
		return e && e->code ? r : err_set(e, r, "%s/%s: cannot read the version that another publisher made", p->product, p->version);
	}
	if (v.status == VERSION_WITHDRAWN)
		r = refuse_other(p, "content, and withdrawn,", e);
	if (!r)
		r = domain_manifest(p->domain, p->product, &v, &m, e);
	if (!r)
		r = compare_same(p, m, &v.contract, staged, e);
	manifest_unref(m);
	version_info_fini(&v);
	snapshot_unref(s);
	return r;
}

/* -- the commit ----------------------------------------------------------------------------- */

struct commit {
	struct publication *p;
	const struct stage_result *staged;
	struct snapshot *base; /* of the edit under way */
	bool taken;            /* another publisher has the number */
	bool condemned;
};

static int check_condemned(void *arg, uint32_t number, const struct manifest_pack *pack)
{
	struct commit *c = arg;
	(void)number;
	if (!pack->in_place && snapshot_is_condemned(c->base, pack->key, NULL) == 0)
		c->condemned = true;
	return c->condemned;
}

/* Nothing that the version rests on may be condemned: what gc condemned it will delete, whoever comes later. */
static int check_rests(struct commit *c, struct err *e)
{
	struct publication *p = c->p;
	char key[HEADS_KEY_SIZE], base[VERSION_SIZE];
	struct version_info v;
	int r = stage_packs(p->stage, check_condemned, c, e);
	manifest_key(&c->staged->digest, key);
	if (r >= 0 && snapshot_is_condemned(c->base, key, NULL) == 0)
		c->condemned = true;
	if (c->condemned)
		return err_set(e, -EAGAIN, "gc collected chunks that this publication rests on; publish again");
	if (r < 0 || !p->has_onto)
		return r < 0 ? r : 0;
	semver_format(&p->onto, base);
	r = snapshot_version(c->base, p->product, base, &v);
	if (r)
		return err_set(e, r, "%s/%s: the version to build onto is gone", p->product, base);
	if (v.status == VERSION_WITHDRAWN)
		r = err_set(e, -EPERM, "%s/%s: the version to build onto was withdrawn meanwhile", p->product, base);
	version_info_fini(&v);
	return r;
}

static int newest_active(void *arg, const struct version_info *v)
{
	struct semver *newest = arg;
	if (v->status != VERSION_ACTIVE)
		return 0;
	*newest = v->number;
	return 1;
}

static int edit(void *arg, struct snapshot_edit *x, struct err *e)
{
	struct commit *c = arg;
	struct publication *p = c->p;
	struct version_info v = { .number = p->number };
	struct semver newest = { 0 };
	int found = 0, r = 0;
	c->base = snapshot_edit_base(x);
	c->taken = c->condemned = false;
	if (c->base) {
		r = check_rests(c, e);
		found = snapshot_versions(c->base, p->product, newest_active, &newest);
	}
	if (!r && p->contract)
		r = snapshot_edit_contract(x, p->contract_text.data, p->contract_text.len, &v.contract, e);
	if (r)
		return r;
	semver_format(&p->number, v.version);
	v.manifest = c->staged->digest;
	v.manifest_size = c->staged->size;
	v.published_ns = clock_now_ns();
	v.files = c->staged->files;
	v.bytes = c->staged->bytes;
	v.failures_reason = p->failures_reason;
	v.publisher = p->publisher;
	v.run = p->run;
	r = snapshot_edit_add_version(x, p->product, &v, p->quality, e);
	if (r == -EEXIST)
		c->taken = true;
	if (r || (found == 1 && semver_compare(&newest, &p->number) > 0))
		return r;
	static const struct product_text nothing;
	return p->contract ? snapshot_edit_describe_contract(x, p->product, p->contract, e)
			   : snapshot_edit_describe(x, p->product, &nothing, e);
}

static int put_manifest(struct publication *p, const char *path, const struct stage_result *staged, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	manifest_key(&staged->digest, key);
	int r = store_put_file(domain_store(p->domain), key, path, NULL, NULL, e);
	if (r || !p->rows)
		return r;
	rows_key(&staged->digest, key);
	return store_put_file(domain_store(p->domain), key, p->rows, NULL, NULL, e);
}

static void drop_manifest(struct publication *p, const struct stage_result *staged)
{
	char key[HEADS_KEY_SIZE];
	if (p->rows) {
		rows_key(&staged->digest, key);
		store_delete(domain_store(p->domain), key, NULL);
	}
	manifest_key(&staged->digest, key);
	store_delete(domain_store(p->domain), key, NULL);
}

/* One try under p->version.  *ret_taken: another publisher has the number. */
static int commit_once(struct publication *p, struct stage_result *staged, bool *ret_taken, uint64_t *ret_generation, struct err *e)
{
	struct commit c = { .p = p, .staged = staged };
	char *path = text_format("%s/manifest.%d.%lld", p->scratch, (int)getpid(), (long long)clock_mono_ns());
	bool put = false;
	int r = path ? stage_write(p->stage, path, domain_name(p->domain), p->product, p->version, clock_now_ns(), staged, e)
		     : err_set(e, -ENOMEM, "no memory");
	if (r || p->same || p->dry_run)
		goto out;
	put = true;
	r = put_manifest(p, path, staged, e);
	if (!r) {
		p->keep = true; /* an answer that is lost may have been a yes */
		r = domain_commit(p->domain, edit, &c, ret_generation, e);
		if (r && (c.taken || c.condemned))
			p->keep = false; /* our own edit said no */
	}
	*ret_taken = r && c.taken;
out:
	if (r && put && !p->keep)
		drop_manifest(p, staged);
	if (path)
		unlink(path);
	free(path);
	return r;
}

#define BUMP_TRIES_MAX 20

/* With a bump, a number that another publisher took is followed by the next one. */
static int commit_bumping(struct publication *p, struct stage_result *staged, bool *ret_taken, uint64_t *ret_generation, struct err *e)
{
	for (int i = 0; i < BUMP_TRIES_MAX; i++) {
		struct err own = ERR_INIT;
		int r = commit_once(p, staged, ret_taken, ret_generation, &own);
		if (r && !*ret_taken)
			err_move(e, &own);
		if (!r || !*ret_taken || p->bump == BUMP_NONE)
			return r;
		r = domain_refresh(p->domain, NULL, e);
		struct snapshot *s = r ? NULL : domain_snapshot(p->domain);
		if (s)
			r = publish_choose_version(p, s, e);
		snapshot_unref(s);
		if (r)
			return r;
	}
	return err_set(e, -EAGAIN, "%s/%s: other publishers took every number; publish again", domain_name(p->domain), p->product);
}

int publish_commit(struct publication *p, struct publish_result *ret, struct err *e)
{
	struct stage_result staged = { 0 };
	struct ingest_counts counts;
	uint64_t generation = 0;
	bool taken = false, unchanged = false;
	int r = ingest_finish(p->ingest, e);
	if (!r)
		r = commit_bumping(p, &staged, &taken, &generation, e);
	if (r && taken && p->bump == BUMP_NONE) {
		r = compare_winner(p, &staged, e);
		unchanged = !r;
	} else if (!r && p->same) {
		r = compare_same(p, p->same, &p->same_contract, &staged, e);
		unchanged = !r;
	}
	if (r)
		return r;
	if (unchanged && !generation) {
		struct snapshot *s = domain_snapshot(p->domain);
		generation = s ? snapshot_generation(s) : 0;
		snapshot_unref(s);
	}
	ingest_counts(p->ingest, &counts);
	*ret = (struct publish_result){ .unchanged = unchanged,
					.files = staged.files,
					.bytes = staged.bytes,
					.new_bytes = unchanged ? 0 : counts.new_bytes,
					.stored_bytes = unchanged ? 0 : counts.stored_bytes + staged.size,
					.generation = generation };
	memcpy(ret->version, p->version, sizeof ret->version);
	return 0;
}
