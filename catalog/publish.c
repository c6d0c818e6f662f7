#include "catalog/publish.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/heads.h"
#include "catalog/parquet_cuts.h"
#include "catalog/publish_private.h"
#include "catalog/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- names ---------------------------------------------------------------------------------- */

int publish_path_check(const char *path, struct err *e)
{
	const char *part = path;
	size_t len;
	if (!*path || strlen(path) > MANIFEST_PATH_MAX)
		return err_set(e, -EINVAL, "a path of %zu bytes cannot be published", strlen(path));
	for (;; part += len + 1) {
		len = strcspn(part, "/");
		if (!len || (len == 1 && part[0] == '.') || (len == 2 && !memcmp(part, "..", 2)))
			return err_set(e, -EINVAL, "%s: not a clean path within a version", path);
		if (len > 255)
			return err_set(e, -ENAMETOOLONG, "%s: a name has more than 255 bytes", path);
		if (len == 5 && !memcmp(part, ".mesh", 5))
			return err_set(e, -EINVAL, "%s: '.mesh' is reserved and cannot be published; rename it or leave it out", path);
		if (!part[len])
			return 0;
	}
}

/* -- beginning ------------------------------------------------------------------------------ */

static int first_version(void *arg, const struct version_info *v)
{
	*(struct semver *)arg = v->number;
	return 1;
}

/* The number after the product's highest (withdrawn ones count: a number is never used again). */
static int bump_version(struct snapshot *s, const char *product, enum version_bump bump, struct semver *ret, struct err *e)
{
	struct semver highest = { 0 };
	int r = snapshot_versions(s, product, first_version, &highest);
	if (r < 0 && r != -ENOENT)
		return err_set(e, r, "cannot read the versions of %s", product);
	if (r != 1) {
		*ret = (struct semver){ 1, 0, 0 };
		return 0;
	}
	uint32_t *part = bump == BUMP_MAJOR ? &highest.major : bump == BUMP_MINOR ? &highest.minor : &highest.patch;
	if (*part == INT32_MAX)
		return err_set(e, -ERANGE, "%s: the version number cannot grow further", product);
	++*part;
	if (bump != BUMP_PATCH)
		highest.patch = 0;
	if (bump == BUMP_MAJOR)
		highest.minor = 0;
	*ret = highest;
	return 0;
}

int publish_choose_version(struct publication *p, struct snapshot *s, struct err *e)
{
	if (p->bump != BUMP_NONE) {
		int r = bump_version(s, p->product, p->bump, &p->number, e);
		if (r)
			return r;
	}
	semver_format(&p->number, p->version);
	return 0;
}

static int add_known(void *arg, uint64_t id, const struct manifest_chunk *c)
{
	struct publication *p = arg;
	if (c->pack < p->excluded_count && p->excluded[c->pack])
		return 0;
	return chunk_index_add(p->index, &c->digest, (unsigned)p->known_count + 1, id);
}

struct exclude {
	struct publication *p;
	struct snapshot *snapshot;
};

/* Chunks of condemned packs are about to go, those of in-place objects may change under us; `fresh` trusts none. */
static int exclude_pack(void *arg, uint32_t number, const struct manifest_pack *pack)
{
	struct exclude *x = arg;
	struct publication *p = x->p;
	const bool exclude = p->fresh || pack->in_place || snapshot_is_condemned(x->snapshot, pack->key, NULL) == 0;
	if (number >= PUBLISH_PACKS_MAX)
		return -EBADMSG;
	if (number >= p->excluded_count) {
		bool *more = realloc(p->excluded, (number + 64) * sizeof *more);
		if (!more)
			return -ENOMEM;
		memset(more + p->excluded_count, 0, number + 64 - p->excluded_count);
		p->excluded = more;
		p->excluded_count = number + 64;
	}
	p->excluded[number] = exclude;
	return 0;
}

/* Makes the chunks of a version known.  Takes the manifest. */
static int know_manifest(struct publication *p, struct snapshot *s, struct manifest *m, struct err *e)
{
	struct exclude x = { p, s };
	if (p->known_count == PUBLISH_KNOWN_MAX) {
		manifest_unref(m);
		return 0;
	}
	for (size_t i = 0; i < p->known_count; i++) {
		if (digest_equal(&manifest_info(p->known[i])->tree, &manifest_info(m)->tree)) { /* nothing new in it */
			manifest_unref(m);
			return 0;
		}
	}
	if (p->excluded)
		memset(p->excluded, 0, p->excluded_count * sizeof *p->excluded);
	p->known[p->known_count] = m;
	int r = manifest_packs(m, exclude_pack, &x);
	if (!r)
		r = manifest_chunks_all(m, add_known, p);
	p->known_count++;
	return r ? err_set(e, r, "cannot read the manifest of %s/%s/%s", manifest_info(m)->domain, p->product, manifest_info(m)->version) : 0;
}

static int know_version(struct publication *p, struct snapshot *s, const char *selector, struct version_info *ret_info,
			struct manifest **ret, struct err *e)
{
	struct manifest *m;
	int r = snapshot_version(s, p->product, selector, ret_info);
	if (r)
		return r;
	r = ret_info->status == VERSION_ACTIVE ? domain_manifest(p->domain, p->product, ret_info, &m, e) : -ESTALE;
	if (r) {
		version_info_fini(ret_info);
		return r;
	}
	if (ret)
		*ret = manifest_ref(m);
	r = know_manifest(p, s, m, e);
	if (r) {
		if (ret)
			manifest_unref(*ret);
		version_info_fini(ret_info);
	}
	return r;
}

static int parse_contract(struct publication *p, const char *name, struct err *e)
{
	return contract_parse(name, p->contract_text.data, p->contract_text.len, &p->contract, e);
}

/* The newest version: its chunks are known, its contract is inherited unless one was given. */
static int know_newest(struct publication *p, struct snapshot *s, struct err *e)
{
	struct version_info v;
	int r = know_version(p, s, "latest", &v, NULL, e);
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	static const struct digest none;
	if (!p->contract && !digest_equal(&v.contract, &none)) {
		r = snapshot_contract(s, &v.contract, &p->contract_text);
		if (!r) {
			char name[NAME_SIZE + VERSION_SIZE + 32];
			snprintf(name, sizeof name, "contract of %s/%s", p->product, v.version);
			r = parse_contract(p, name, e);
		} else {
			err_set(e, r, "%s: cannot read the contract of version %s", p->product, v.version);
		}
	}
	version_info_fini(&v);
	return r;
}

/* Is the address taken?  An active version with the same number is compared with at the commit. */
static int know_same(struct publication *p, struct snapshot *s, struct err *e)
{
	struct version_info v;
	if (p->bump != BUMP_NONE)
		return 0;
	int r = know_version(p, s, p->version, &v, &p->same, e);
	if (r == -ENOENT)
		return 0;
	if (r == -ESTALE)
		return err_set(e, -EPERM, "%s/%s/%s: this version was withdrawn; its number cannot be used again, publish under another one",
			       domain_name(p->domain), p->product, p->version);
	if (r)
		return r;
	p->same_contract = v.contract;
	version_info_fini(&v);
	return 0;
}

static int copy_options(struct publication *p, const struct publish_options *o, struct err *e)
{
	if (o->bump == BUMP_NONE && (!o->version || semver_parse(o->version, &p->number)))
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: a version is MAJOR.MINOR.PATCH, for example 1.2.0",
				    o->version && *o->version ? o->version : "(none)");
	int r = name_check("product", o->product, e);
	if (r)
		return r;
	snprintf(p->product, sizeof p->product, "%s", o->product);
	p->bump = o->bump;
	p->dry_run = o->dry_run;
	p->fresh = o->fresh;
	p->replace = o->replace;
	p->publisher = o->publisher ? strdup(o->publisher) : NULL;
	p->run = o->run ? strdup(o->run) : NULL;
	p->failures_reason = o->failures_reason ? strdup(o->failures_reason) : NULL;
	if ((o->publisher && !p->publisher) || (o->run && !p->run) || (o->failures_reason && !p->failures_reason))
		return err_set(e, -ENOMEM, "no memory");
	if (!o->contract_text)
		return 0;
	buf_add(&p->contract_text, o->contract_text, o->contract_len);
	p->contract_given = true;
	r = parse_contract(p, o->contract_name ? o->contract_name : "contract", e);
	return r ? r : contract_validate(p->contract, e);
}

static int begin_catalog(struct publication *p, const struct publish_options *o, struct err *e)
{
	struct version_info base;
	struct manifest *m = NULL;
	int r = p->dry_run ? 0 : domain_ensure_catalog(p->domain, e);
	if (!r)
		r = domain_refresh(p->domain, NULL, e);
	if (r)
		return r;
	struct snapshot *s = domain_snapshot(p->domain);
	if (!s)
		return err_set(e, -ENOENT, "%s: there is no catalog in %s; 'meshfs domain add' makes one", domain_name(p->domain),
			       store_url(domain_store(p->domain)));
	r = publish_choose_version(p, s, e);
	if (!r)
		r = know_same(p, s, e);
	if (!r && o->onto) {
		r = know_version(p, s, o->onto, &base, &m, e);
		if (r == -ENOENT || r == -ESTALE)
			err_set(e, -ENOENT, "%s/%s/%s: there is no such version to build onto%s", domain_name(p->domain), p->product, o->onto,
				r == -ESTALE ? " (it was withdrawn)" : "");
		if (!r) {
			p->onto = base.number;
			p->has_onto = true;
			r = publish_stage_version(p, m, e);
			version_info_fini(&base);
		}
	}
	if (!r)
		r = know_newest(p, s, e);
	stage_seal(p->stage);
	manifest_unref(m);
	snapshot_unref(s);
	return r;
}

int publish_begin(struct domain *d, const struct publish_options *o, struct publication **ret, struct err *e)
{
	struct publication *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "no memory");
	p->domain = d;
	int r = copy_options(p, o, e);
	if (!r && !(p->scratch = text_format("%s/tmp", domain_cache_folder(d))))
		r = err_set(e, -ENOMEM, "no memory");
	if (!r && !p->dry_run && !store_writable(domain_store(d)))
		r = err_set(e, -EROFS, "%s: its store %s is read only; publish where its owner does", domain_name(d), store_url(domain_store(d)));
	if (!r)
		r = stage_new(p->scratch, &p->stage, e);
	if (!r && !(p->index = chunk_index_new()))
		r = err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = begin_catalog(p, o, e);
	if (!r) {
		const struct ingest_config config = {
			.store = domain_store(d),
			.stage = p->stage,
			.index = p->index,
			.known = p->known,
			.known_count = p->known_count,
			.dry_run = p->dry_run || p->same, /* compared only: nothing is stored */
			.observer = o->observer,
			.progress = o->progress,
			.interrupted = o->interrupted,
		};
		r = ingest_start(&config, &p->ingest, e);
	}
	if (r)
		publish_free(p);
	else
		*ret = p;
	return r;
}

void publish_free(struct publication *p)
{
	if (!p)
		return;
	ingest_free(p->ingest, !p->keep);
	stage_free(p->stage);
	chunk_index_free(p->index);
	for (size_t i = 0; i < p->known_count; i++)
		manifest_unref(p->known[i]);
	manifest_unref(p->same);
	contract_unref(p->contract);
	buf_free(&p->contract_text);
	free(p->excluded);
	free(p->publisher);
	free(p->run);
	free(p->failures_reason);
	free(p->quality);
	if (p->rows)
		unlink(p->rows);
	free(p->rows);
	free(p->scratch);
	free(p);
}

struct contract *publish_contract(const struct publication *p)
{
	return p->contract;
}

bool publish_onto(const struct publication *p, char ret_version[VERSION_SIZE])
{
	if (p->has_onto)
		semver_format(&p->onto, ret_version);
	return p->has_onto;
}

const char *publish_version(const struct publication *p)
{
	return p->version;
}

/* -- adding --------------------------------------------------------------------------------- */

/* A local file under way. */
struct local_file {
	int fd;
	const char *name;
	struct stat before;
	uint64_t offset;
};

static int local_read(void *arg, void *bytes, size_t len, size_t *ret_n, struct err *e)
{
	struct local_file *f = arg;
	ssize_t n;
	do
		n = pread(f->fd, bytes, len, (off_t)f->offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_set(e, -errno, "%s: cannot read: %s", f->name, strerror(errno));
	f->offset += (uint64_t)n;
	*ret_n = (size_t)n;
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int local_check(void *arg, struct err *e)
{
	struct local_file *f = arg;
	struct stat after;
	if (fstat(f->fd, &after))
		return err_set(e, -errno, "%s: %s", f->name, strerror(errno));
	if (after.st_size == f->before.st_size && same_time(after.st_mtim, f->before.st_mtim) &&
	    same_time(after.st_ctim, f->before.st_ctim) && after.st_ino == f->before.st_ino)
		return 0;
	return err_set(e, -EBUSY, "%s: the file changed while it was read; publish again when nothing writes it", f->name);
}

/* Forced cuts of a Parquet file; none on any doubt. */
static void local_parquet_cuts(int fd, uint64_t size, uint64_t **ret, size_t *ret_count)
{
	unsigned char tail[8];
	if (size < 12 || pread(fd, tail, 8, (off_t)(size - 8)) != 8)
		return;
	const uint32_t len = parquet_footer_length(tail, size);
	void *footer = len ? malloc(len) : NULL;
	if (footer && pread(fd, footer, len, (off_t)(size - 8 - len)) == (ssize_t)len)
		parquet_cuts(footer, len, size, ret, ret_count);
	free(footer);
}

bool publish_is_parquet(const char *path)
{
	return text_ends(path, ".parquet") || text_ends(path, ".parq");
}

int publish_add_fd(struct publication *p, const char *path, int fd, const char *name, struct err *e)
{
	struct local_file f = { .fd = fd, .name = name };
	uint64_t *cuts = NULL;
	size_t cut_count = 0;
	int r = publish_path_check(path, e);
	if (r)
		return r;
	if (fstat(fd, &f.before))
		return err_set(e, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(f.before.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", name);
	const uint64_t size = (uint64_t)f.before.st_size;
	if (publish_is_parquet(path))
		local_parquet_cuts(fd, size, &cuts, &cut_count);
	if (size > READAHEAD_MIN)
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	const struct ingest_source source = {
		.path = path,
		.mtime_ns = (int64_t)f.before.st_mtim.tv_sec * NS_PER_S + f.before.st_mtim.tv_nsec,
		.executable = f.before.st_mode & S_IXUSR,
		.replace = p->replace,
		.size = size,
		.read = local_read,
		.check = local_check,
		.arg = &f,
		.cuts = cuts,
		.cut_count = cut_count,
	};
	r = ingest_file(p->ingest, &source, e);
	free(cuts);
	return r;
}

int publish_add_folder(struct publication *p, const char *path, int64_t mtime_ns, struct err *e)
{
	const struct manifest_entry folder = { .kind = ENTRY_FOLDER, .mtime_ns = mtime_ns };
	int r = *path ? publish_path_check(path, e) : 0;
	return r ? r : ingest_entry(p->ingest, path, &folder, NULL, 0, p->replace, e);
}

int publish_add_symlink(struct publication *p, const char *path, const char *target, size_t len, int64_t mtime_ns, struct err *e)
{
	const struct manifest_entry link = { .kind = ENTRY_SYMLINK, .mtime_ns = mtime_ns, .size = len };
	int r = publish_path_check(path, e);
	if (r)
		return r;
	if (symlink_check(path, target, len))
		return err_set_kind(e, ERR_FAIL, -EXDEV,
				    "%s: the symlink to '%.*s' may lead out of the version; make it relative to a file in the version, or leave it out",
				    path, (int)(len > 200 ? 200 : len), target);
	return ingest_entry(p->ingest, path, &link, target, len, p->replace, e);
}

int publish_remove(struct publication *p, const char *path, struct err *e)
{
	int r = ingest_flush(p->ingest, e);
	return r ? r : stage_remove(p->stage, path, e);
}

int publish_flush(struct publication *p, struct err *e)
{
	return ingest_flush(p->ingest, e);
}

int publish_set_rows(struct publication *p, const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	free(p->rows);
	p->rows = copy;
	return 0;
}

void publish_drop_failures(struct publication *p)
{
	free(p->failures_reason);
	p->failures_reason = NULL;
}

int publish_set_quality(struct publication *p, const char *json)
{
	char *copy = strdup(json);
	if (!copy)
		return -ENOMEM;
	free(p->quality);
	p->quality = copy;
	return 0;
}
