#include "fs/draft.h"

#include "fs/draft_internal.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "catalog/domain.h"
#include "policy/decide.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

/* -- who may, and what it is called -------------------------------------------------------------- */

int draft_permitted(struct session *s, struct domain_host *h, const char *product, const char *version, struct err *e)
{
	const struct version_facts facts = { .domain = h->config->name,
					     .product = product,
					     .version = version ? version : "*",
					     .published_ns = clock_now_ns(),
					     .has_quality = true,
					     .quality_score = 1 };
	struct policy *p = mesh_policy(s->mesh, NULL);
	struct stat st;
	if (!p)
		return err_set(e, -EACCES, "no policy is in force");
	/* Who may edit the mesh file may give himself any rule. */
	bool owner = !s->who.uid || (!stat(s->mesh->config->path, &st) && st.st_uid == s->who.uid);
	int r = policy_may_publish(p, &s->subject, &facts, owner, clock_now_ns(), e);
	policy_unref(p);
	return r ? -EACCES : 0;
}

bool draft_name_version(const char *name, char *ret_version)
{
	size_t len = strlen(name), suffix = sizeof DRAFT_SUFFIX - 1;
	struct semver number;
	char version[VERSION_SIZE];
	if (len <= suffix || len - suffix >= sizeof version || strcmp(name + len - suffix, DRAFT_SUFFIX) != 0)
		return false;
	memcpy(version, name, len - suffix);
	version[len - suffix] = '\0';
	if (semver_parse(version, &number))
		return false;
	if (ret_version)
		memcpy(ret_version, version, sizeof version);
	return true;
}

static struct draft *find_locked(struct drafts *ds, struct domain_host *h, const char *product, const char *name)
{
	char version[VERSION_SIZE];
	if (!draft_name_version(name, version))
		return NULL;
	struct draft *d = ds->list;
	while (d && (d->gone || d->domain != h || strcmp(d->product, product) != 0 || strcmp(d->version, version) != 0))
		d = d->next;
	return d;
}

/* -- folders on disk ------------------------------------------------------------------------------ */

static struct dnode *root_node(struct draft *d, enum dnode_kind kind)
{
	struct drafts *ds = d->set;
	struct dnode *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	*n = (struct dnode){ .id = ds->next_id, .kind = kind, .draft = d, .fd = -1 };
	if (map_set(ds->by_id, &n->id, sizeof n->id, n, NULL)) {
		free(n);
		return NULL;
	}
	ds->next_id++;
	return n;
}

/* A draft on a folder that exists; locks it.  -EBUSY: another session holds it. */
static int draft_open(struct drafts *ds, struct domain_host *h, const char *product, const char *version, const char *folder,
		      struct draft **ret)
{
	struct draft *d = calloc(1, sizeof *d);
	int r = -ENOMEM;
	if (!d)
		return r;
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&d->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	d->set = ds;
	d->domain = h;
	d->dir = d->lock_fd = -1;
	d->due = map_new();
	d->folder = strdup(folder);
	snprintf(d->product, sizeof d->product, "%s", product);
	snprintf(d->version, sizeof d->version, "%s", version);
	if (!d->due || !d->folder)
		goto fail;
	d->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	d->lock_fd = d->dir < 0 ? -1 : openat(d->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX | LOCK_NB)) {
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		goto fail;
	}
	if ((mkdirat(d->dir, "files", 0755) || mkdirat(d->dir, "meta", 0755)) && errno != EEXIST) {
		r = -errno;
		goto fail;
	}
	mkdirat(d->dir, "meta", 0755);
	*ret = d;
	return 0;
fail:
	draft_free(d);
	return r;
}

static int list_locked(struct drafts *ds, struct draft *d)
{
	d->root = root_node(d, DNODE_ROOT);
	d->meta = d->root ? root_node(d, DNODE_META) : NULL;
	if (!d->meta)
		return -ENOMEM;
	d->next = ds->list;
	ds->list = d;
	ds->count++;
	return 0;
}

static int ensure_folder(struct drafts *ds)
{
	struct err e = ERR_INIT;
	if (ds->folder)
		return 0;
	char *state = io_state_folder();
	char *folder = state ? io_join(state, "drafts") : NULL;
	free(state);
	if (!folder)
		return -ENOMEM;
	int r = io_make_folders(folder, 0700, &e);
	if (r)
		log_error("%s", e.text);
	if (!r && chmod(folder, 0700))
		r = -errno;
	if (r)
		free(folder);
	else
		ds->folder = folder;
	return r;
}

/* -- taking up what was left ------------------------------------------------------------------------ */

static void resume_one(struct drafts *ds, const char *name)
{
	char domain[256], *product, *version, *uid, *end;
	snprintf(domain, sizeof domain, "%s", name);
	if (!(product = strchr(domain, ',')) || !(version = strchr(product + 1, ',')) || !(uid = strchr(version + 1, ',')) ||
	    !(end = strchr(uid + 1, ',')))
		return;
	*product++ = *version++ = *uid++ = *end = '\0';
	struct domain_host *h = mesh_domain_host(ds->session->mesh, domain);
	struct semver number;
	char as_name[VERSION_SIZE + 8];
	snprintf(as_name, sizeof as_name, "%s" DRAFT_SUFFIX, version);
	if (!h || strtoul(uid, NULL, 10) != ds->session->who.uid || semver_parse(version, &number) || name_check("product", product, NULL) ||
	    find_locked(ds, h, product, as_name) || ds->count >= DRAFTS_MAX)
		return;
	struct draft *d = NULL;
	char *folder = io_join(ds->folder, name);
	int r = folder ? draft_open(ds, h, product, version, folder, &d) : -ENOMEM;
	if (!r && (r = list_locked(ds, d)))
		draft_free(d);
	free(folder);
	if (r) {
		if (r != -EBUSY)
			log_warn("the draft in %s/%s cannot be taken up: %s", ds->folder, name, strerror(-r));
		return;
	}
	atomic_fetch_add(&ds->used, draft_bytes(d));
	log_info("%s/%s/%s.draft is taken up again", domain, product, version);
}

static void resume(struct drafts *ds)
{
	char *state = io_state_folder(), *folder = state ? io_join(state, "drafts") : NULL;
	DIR *dir = folder ? opendir(folder) : NULL;
	free(state);
	free(folder);
	if (!dir || ensure_folder(ds)) {
		if (dir)
			closedir(dir);
		return;
	}
	for (struct dirent *entry; (entry = readdir(dir));) {
		if (!draft_sweep_left(ds, entry->d_name))
			resume_one(ds, entry->d_name);
	}
	closedir(dir);
}

/* -- the set --------------------------------------------------------------------------------------- */

int drafts_new(struct session *s, bool take_up, struct drafts **ret, struct err *e)
{
	struct drafts *ds = calloc(1, sizeof *ds);
	const char *limit = getenv("MESHFS_DRAFT_LIMIT");
	if (!ds)
		return err_set(e, -ENOMEM, "no memory");
	pthread_mutex_init(&ds->lock, NULL);
	ds->session = s;
	ds->limit = DRAFT_LIMIT_DEFAULT;
	ds->next_id = 1ull << DRAFT_NODE_BIT;
	ds->products = map_new();
	ds->by_id = map_new();
	ds->by_name = map_new();
	int r = ds->products && ds->by_id && ds->by_name ? 0 : err_set(e, -ENOMEM, "no memory");
	if (!r && limit && *limit && text_parse_size(limit, &ds->limit))
		r = err_set_kind(e, ERR_PARSE, -EINVAL, "MESHFS_DRAFT_LIMIT: %s is not a size such as 64GiB", limit);
	if (r) {
		drafts_free(ds);
		return r;
	}
	if (take_up)
		resume(ds);
	*ret = ds;
	return 0;
}

bool drafts_stop(struct drafts *ds, int64_t timeout_ms)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	bool all = true;
	if (!ds)
		return true;
	pthread_mutex_lock(&ds->lock);
	for (struct draft *d = ds->list; d; d = d->next) {
		atomic_store(&d->stop, true);
		atomic_store(&d->cancel, true);
		pthread_cond_broadcast(&d->wake);
	}
	for (struct draft *d = ds->list; d; d = d->next) {
		while (d->fed && !d->ended && clock_mono_ms() < deadline) {
			pthread_mutex_unlock(&ds->lock);
			usleep(2000);
			pthread_mutex_lock(&ds->lock);
		}
		all = all && (!d->fed || d->ended);
	}
	pthread_mutex_unlock(&ds->lock);
	for (struct draft *d = ds->list; all && d; d = d->next) {
		if (d->fed)
			pthread_join(d->thread, NULL);
		d->fed = false;
	}
	return all;
}

static void free_node(void *value)
{
	struct dnode *n = value;
	if (n->fd >= 0)
		close(n->fd);
	free(n->name);
	free(n);
}

void drafts_free(struct drafts *ds)
{
	if (!ds)
		return;
	map_free(ds->by_name, NULL);
	map_free(ds->by_id, free_node);
	map_free(ds->products, free);
	while (ds->list) {
		struct draft *d = ds->list;
		ds->list = d->next;
		draft_free(d);
	}
	pthread_mutex_destroy(&ds->lock);
	free(ds->folder);
	free(ds);
}

/* -- products that exist only as drafts --------------------------------------------------------------- */

static void product_key(const struct domain_host *h, const char *product, char ret[2 * NAME_SIZE])
{
	snprintf(ret, 2 * NAME_SIZE, "%s/%s", h->config->name, product);
}

bool draft_product_known(struct session *s, struct domain_host *h, const char *product)
{
	struct drafts *ds = s->drafts;
	char key[2 * NAME_SIZE];
	product_key(h, product, key);
	pthread_mutex_lock(&ds->lock);
	bool known = map_gets(ds->products, key) != NULL;
	for (struct draft *d = ds->list; d && !known; d = d->next)
		known = !d->gone && d->domain == h && !strcmp(d->product, product);
	pthread_mutex_unlock(&ds->lock);
	return known;
}

int draft_product_make(struct session *s, struct domain_host *h, const char *product)
{
	char key[2 * NAME_SIZE];
	product_key(h, product, key);
	char *value = strdup(product);
	if (!value)
		return -ENOMEM;
	pthread_mutex_lock(&s->drafts->lock);
	int r = map_gets(s->drafts->products, key) ? -EEXIST : map_sets(s->drafts->products, key, value);
	pthread_mutex_unlock(&s->drafts->lock);
	if (r)
		free(value);
	return r;
}

int draft_product_remove(struct session *s, struct domain_host *h, const char *product)
{
	struct drafts *ds = s->drafts;
	char key[2 * NAME_SIZE];
	product_key(h, product, key);
	pthread_mutex_lock(&ds->lock);
	bool used = false;
	for (struct draft *d = ds->list; d; d = d->next)
		used |= !d->gone && d->domain == h && !strcmp(d->product, product);
	char *value = used ? NULL : map_remove(ds->products, key, strlen(key));
	pthread_mutex_unlock(&ds->lock);
	int r = used ? -ENOTEMPTY : value ? 0 : -EROFS;
	free(value);
	return r;
}

int draft_list_products(struct session *s, struct domain_host *h, int (*each)(void *arg, const char *name), void *arg)
{
	struct drafts *ds = s->drafts;
	char names[2 * DRAFTS_MAX][NAME_SIZE];
	size_t count = 0, i = 0, len;
	const void *key;
	void *value;
	int r = 0;
	pthread_mutex_lock(&ds->lock);
	while (count < DRAFTS_MAX && map_next(ds->products, &i, &key, &len, &value)) {
		size_t domain = strlen(h->config->name);
		if (len > domain && !memcmp(key, h->config->name, domain) && ((const char *)key)[domain] == '/')
			snprintf(names[count++], NAME_SIZE, "%s", (const char *)value);
	}
	for (struct draft *d = ds->list; d && count < 2 * DRAFTS_MAX; d = d->next) {
		bool listed = d->gone || d->domain != h;
		for (size_t k = 0; k < count && !listed; k++)
			listed = !strcmp(names[k], d->product);
		if (!listed)
			snprintf(names[count++], NAME_SIZE, "%s", d->product);
	}
	pthread_mutex_unlock(&ds->lock);
	for (size_t k = 0; k < count && !r; k++)
		r = each(arg, names[k]);
	return r;
}

int draft_list(struct session *s, struct domain_host *h, const char *product, int (*each)(void *arg, const char *name, uint64_t id), void *arg)
{
	struct drafts *ds = s->drafts;
	struct {
		char name[VERSION_SIZE + 8];
		uint64_t id;
	} found[DRAFTS_MAX];
	size_t count = 0;
	int r = 0;
	pthread_mutex_lock(&ds->lock);
	for (struct draft *d = ds->list; d && count < DRAFTS_MAX; d = d->next) {
		if (d->gone || d->domain != h || strcmp(d->product, product) != 0)
			continue;
		snprintf(found[count].name, sizeof found->name, "%s" DRAFT_SUFFIX, d->version);
		found[count++].id = d->root->id;
	}
	pthread_mutex_unlock(&ds->lock);
	for (size_t i = 0; i < count && !r; i++)
		r = each(arg, found[i].name, found[i].id);
	return r;
}

/* -- one draft --------------------------------------------------------------------------------------- */

static int entry_locked(struct draft *d, struct op_entry *ret)
{
	struct stat st;
	int r = dnode_stat(d->root, &st);
	if (!r)
		dnode_entry(d->root, &st, ret);
	return r;
}

int draft_lookup_root(struct session *s, struct domain_host *h, const char *product, const char *name, struct op_entry *ret)
{
	pthread_mutex_lock(&s->drafts->lock);
	struct draft *d = find_locked(s->drafts, h, product, name);
	int r = d ? entry_locked(d, ret) : -ENOENT;
	pthread_mutex_unlock(&s->drafts->lock);
	return r;
}

static bool is_published(struct domain_host *h, const char *product, const char *version)
{
	struct version_info v;
	struct snapshot *snapshot = domain_snapshot(h->domain);
	bool found = snapshot && !snapshot_version(snapshot, product, version, &v);
	if (found)
		version_info_fini(&v);
	snapshot_unref(snapshot);
	return found;
}

static int make_folder(struct drafts *ds, const struct domain_host *h, const char *product, const char *version, char **ret)
{
	uint64_t random;
	int r = ensure_folder(ds);
	if (r)
		return r;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return -EIO;
	char *folder = text_format("%s/%s,%s,%s,%u,%016llx", ds->folder, h->config->name, product, version, (unsigned)ds->session->who.uid,
				   (unsigned long long)random);
	if (!folder)
		return -ENOMEM;
	if (mkdir(folder, 0700)) {
		r = -errno;
		free(folder);
		return r;
	}
	*ret = folder;
	return 0;
}

int draft_make(struct session *s, struct domain_host *h, const char *product, const char *name, struct op_entry *ret)
{
	struct drafts *ds = s->drafts;
	char version[VERSION_SIZE], *folder = NULL;
	struct draft *d = NULL;
	if (!draft_name_version(name, version))
		return -EINVAL;
	if (is_published(h, product, version))
		return -EEXIST;
	pthread_mutex_lock(&ds->lock);
	drafts_reap_locked(ds);
	int r = find_locked(ds, h, product, name) ? -EEXIST : ds->count >= DRAFTS_MAX ? -EDQUOT : make_folder(ds, h, product, version, &folder);
	if (!r && !(r = draft_open(ds, h, product, version, folder, &d)) && (r = list_locked(ds, d))) {
		draft_free(d);
		d = NULL;
	}
	if (!r)
		r = entry_locked(d, ret);
	pthread_mutex_unlock(&ds->lock);
	if (r && folder && !d)
		io_remove_tree(folder, NULL);
	free(folder);
	return r;
}

int draft_remove(struct session *s, struct domain_host *h, const char *product, const char *name)
{
	struct drafts *ds = s->drafts;
	pthread_mutex_lock(&ds->lock);
	struct draft *d = find_locked(ds, h, product, name);
	int r = !d ? -ENOENT : d->committing ? -EBUSY : unlinkat(d->dir, "files", AT_REMOVEDIR) ? -errno : 0;
	if (!r) {
		draft_end_locked(d, 0);
		if (!d->fed)
			draft_sweep(d); /* a folder or two: it had no file */
	}
	pthread_mutex_unlock(&ds->lock);
	return r;
}

void draft_publish(struct op *op, struct domain_host *h, const char *product, const char *name)
{
	struct drafts *ds = op->session->drafts;
	pthread_mutex_lock(&ds->lock);
	struct draft *d = find_locked(ds, h, product, name);
	int r = !d ? -ENOENT : d->publish || d->committing ? -EBUSY : draft_feed_start(d);
	if (!r) {
		d->publish = op;
		atomic_store(&d->cancel, atomic_load(&d->stop));
		op_park_cancel(op, &d->cancel);
		atomic_fetch_add(&h->parked, 1); /* the kernel holds the folder's lock: the notifier leaves it alone */
		pthread_cond_broadcast(&d->wake);
	}
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
}

void draft_misnamed(struct op *op, struct domain_host *h, const char *product, const char *name, const char *to_name)
{
	struct drafts *ds = op->session->drafts;
	pthread_mutex_lock(&ds->lock);
	struct draft *d = find_locked(ds, h, product, name);
	int r = !d ? -ENOENT : d->publish || d->committing ? -EBUSY : -EPERM;
	char *why = r == -EPERM ? text_format("a draft becomes the version it is named after, in its product: mv %s %s; not %s", name, d->version, to_name) : NULL;
	if (why)
		draft_say_problems(d, why, "");
	free(why);
	pthread_mutex_unlock(&ds->lock);
	op_fail(op, r);
}
