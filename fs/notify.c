#include "fs/notify.h"

#include "fs/kernel.h"
#include "fs/node.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define RETRY_MS 50      /* a domain with parked requests is looked at again */
#define TICK_MAX_MS 1000
#define NEWS (IN_MOVED_TO | IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM)

enum item_kind { ITEM_DOMAIN, ITEM_NAME, ITEM_VIEWS, ITEM_SESSION };

struct item {
	struct item *next;
	enum item_kind kind;
	struct domain_host *domain;
	struct session *session; /* valid while listed in mesh->sessions */
	uint64_t parent;
	char name[];
};

struct notifier {
	struct mesh *mesh;
	pthread_t thread;
	bool running;
	int wake, inotify;
	int *cache_watch, *heads_watch; /* by domain */
	int policy_watch;
	bool retune; /* a session waits for kernel_tune */

	pthread_mutex_t lock; /* guards what follows; a leaf */
	pthread_cond_t idle;
	struct item *first, **last;
	struct session *busy; /* whose kernel connection is being told something */
	bool stopping;
};

/* -- queue ----------------------------------------------------------------------------------- */

static void push(struct notifier *n, enum item_kind kind, struct domain_host *h, struct session *s, uint64_t parent, const char *name)
{
	struct item *item = calloc(1, sizeof *item + strlen(name) + 1);
	uint64_t one = 1;
	if (!item)
		return;
	item->kind = kind;
	item->domain = h;
	item->session = s;
	item->parent = parent;
	strcpy(item->name, name);
	pthread_mutex_lock(&n->lock);
	*n->last = item;
	n->last = &item->next;
	pthread_mutex_unlock(&n->lock);
	if (write(n->wake, &one, sizeof one) < 0)
		log_debug("notifier: %s", strerror(errno));
}

static struct item *pop(struct notifier *n)
{
	pthread_mutex_lock(&n->lock);
	struct item *item = n->first;
	if (item) {
		n->first = item->next;
		if (!n->first)
			n->last = &n->first;
	}
	pthread_mutex_unlock(&n->lock);
	return item;
}

void notify_domain(struct notifier *n, struct domain_host *h)
{
	if (n)
		push(n, ITEM_DOMAIN, h, NULL, 0, "");
}

void notify_name(struct notifier *n, struct session *s, uint64_t parent, const char *name)
{
	push(n, ITEM_NAME, NULL, s, parent, name);
}

void notify_views(struct notifier *n)
{
	if (n)
		push(n, ITEM_VIEWS, NULL, NULL, 0, "");
}

void notify_session(struct notifier *n, struct session *s)
{
	push(n, ITEM_SESSION, NULL, s, 0, "");
}

/* -- sessions: used one at a time, and never while one is being freed ------------------------- */

static bool is_listed(struct mesh *m, const struct session *s)
{
	struct session *at = m->sessions;
	while (at && at != s)
		at = at->next;
	return at;
}

/* The session that comes after `s` in the mesh's list (NULL: the first), marked busy.  Ends the use of `s`. */
static struct session *enter_next(struct notifier *n, struct session *s, bool only_this)
{
	struct mesh *m = n->mesh;
	pthread_mutex_lock(&m->lock);
	struct session *next = only_this ? s : !s ? m->sessions : is_listed(m, s) ? s->next : NULL;
	if (next && !is_listed(m, next))
		next = NULL;
	pthread_mutex_lock(&n->lock);
	n->busy = next;
	pthread_cond_broadcast(&n->idle);
	pthread_mutex_unlock(&n->lock);
	pthread_mutex_unlock(&m->lock);
	return next;
}

static void leave(struct notifier *n)
{
	pthread_mutex_lock(&n->lock);
	n->busy = NULL;
	pthread_cond_broadcast(&n->idle);
	pthread_mutex_unlock(&n->lock);
}

void notify_session_gone(struct notifier *n, struct session *s)
{
	/* The caller took it out of the list: it cannot become busy again. */
	pthread_mutex_lock(&n->lock);
	while (n->busy == s)
		pthread_cond_wait(&n->idle, &n->lock);
	pthread_mutex_unlock(&n->lock);
}

/* -- a new generation ------------------------------------------------------------------------ */

struct expiry {
	struct session *session;
	struct domain_host *domain;
	uint64_t product_id;
	const char *product;
};

static int expire_version(void *arg, const struct version_info *v)
{
	struct expiry *x = arg;
	struct session *s = x->session;
	char address[2 * NAME_SIZE + VERSION_SIZE], name[VERSION_SIZE];
	snprintf(name, sizeof name, "%u", v->number.major);
	kernel_notify_entry(s->kernel, x->product_id, name);
	snprintf(name, sizeof name, "%u.%u", v->number.major, v->number.minor);
	kernel_notify_entry(s->kernel, x->product_id, name);
	if (v->status != VERSION_WITHDRAWN)
		return 0;
	snprintf(address, sizeof address, "%s/%s/%s", x->domain->config->name, x->product, v->version);
	struct slot *slot = nodes_slot_current(s->nodes, address);
	if (slot)
		atomic_store(&slot->withdrawn, true);
	nodes_slot_unref(s->nodes, slot, 1);
	kernel_notify_entry(s->kernel, x->product_id, v->version);
	return 0;
}

/* A withdrawn version may be open though its product's name is forgotten. */
static void mark_withdrawn(void *arg, struct slot *slot)
{
	struct expiry *x = arg;
	struct version_info now;
	struct snapshot *snapshot = slot->domain == x->domain ? domain_snapshot(x->domain->domain) : NULL;
	if (!snapshot)
		return;
	int r = snapshot_version(snapshot, slot->product, slot->info.version, &now);
	if (r == -ENOENT || (!r && (now.status == VERSION_WITHDRAWN || !digest_equal(&now.manifest, &slot->info.manifest))))
		atomic_store(&slot->withdrawn, true);
	if (!r)
		version_info_fini(&now);
	snapshot_unref(snapshot);
}

static int expire_product(void *arg, const struct product_info *p)
{
	static const char *const names[] = { "latest", "README.md", "contract.yaml" };
	struct expiry *x = arg;
	struct session *s = x->session;
	char key[2 * NAME_SIZE];
	snprintf(key, sizeof key, "%s/%s", x->domain->config->name, p->name);
	x->product = p->name;
	x->product_id = nodes_vnode_id(s->nodes, key);
	if (!x->product_id)
		return 0;
	struct snapshot *snapshot = domain_snapshot(x->domain->domain);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		kernel_notify_entry(s->kernel, x->product_id, names[i]);
	kernel_notify_attributes(s->kernel, x->product_id);
	snapshot_versions(snapshot, p->name, expire_version, x);
	snapshot_unref(snapshot);
	return 0;
}

static void expire_domain(struct session *s, struct domain_host *h)
{
	struct expiry x = { s, h, 0, NULL };
	nodes_each_slot(s->nodes, mark_withdrawn, &x);
	uint64_t id = nodes_vnode_id(s->nodes, h->config->name);
	struct snapshot *snapshot = id ? domain_snapshot(h->domain) : NULL;
	if (!snapshot)
		return;
	kernel_notify_attributes(s->kernel, id);
	snapshot_products(snapshot, expire_product, &x);
	snapshot_unref(snapshot);
}

/* -- another policy -------------------------------------------------------------------------- */

/* Whatever a name led to may be another view now, or hidden. */
static void expire_slot(void *arg, struct slot *slot)
{
	struct session *s = arg;
	char key[2 * NAME_SIZE];
	snprintf(key, sizeof key, "%s/%s", slot->domain->config->name, slot->product);
	uint64_t product = nodes_vnode_id(s->nodes, key);
	if (product)
		kernel_notify_entry(s->kernel, product, slot->info.version);
	uint64_t domain = nodes_vnode_id(s->nodes, slot->domain->config->name);
	if (domain)
		kernel_notify_entry(s->kernel, domain, slot->product);
}

static void expire_all(struct notifier *n)
{
	struct session *s = enter_next(n, NULL, false);
	for (; s; s = enter_next(n, s, false)) {
		kernel_notify_epoch(s->kernel);
		nodes_each_slot(s->nodes, expire_slot, s);
	}
}

struct lapse {
	struct session *session;
	bool any;
};

static void lapse_slot(void *arg, struct slot *slot)
{
	struct lapse *x = arg;
	if (atomic_load(&slot->domain->parked) || !slot_lapse(x->session, slot))
		return; /* while a request is parked the next round is early enough */
	x->any = true;
	expire_slot(x->session, slot);
}

/* Decisions that depend on time end by themselves; the kernel must not go by them any longer. */
static void expire_lapsed(struct notifier *n)
{
	struct session *s = enter_next(n, NULL, false);
	for (; s; s = enter_next(n, s, false)) {
		struct lapse x = { s, false };
		nodes_each_slot(s->nodes, lapse_slot, &x);
		if (x.any)
			kernel_notify_epoch(s->kernel);
	}
}

static void reload_policy(struct notifier *n)
{
	struct err e = ERR_INIT;
	bool changed = mesh_reload_policy(n->mesh, &e);
	if (e.code)
		log_error("policy: %s; the last good policy stays in force until it is mended", e.text);
	if (!changed)
		return;
	log_info("another policy is in force");
	expire_all(n);
}

/* -- watching -------------------------------------------------------------------------------- */

static void watch(struct notifier *n)
{
	struct mesh *m = n->mesh;
	for (size_t i = 0; i < m->domain_count; i++) {
		const char *cache = NULL, *heads = NULL;
		domain_watch_folders(m->domains[i].domain, &cache, &heads);
		if (cache && n->cache_watch[i] <= 0)
			n->cache_watch[i] = inotify_add_watch(n->inotify, cache, IN_MOVED_TO | IN_CREATE);
		if (heads && n->heads_watch[i] <= 0)
			n->heads_watch[i] = inotify_add_watch(n->inotify, heads, IN_MOVED_TO | IN_CREATE);
	}
	if (n->policy_watch <= 0)
		n->policy_watch = inotify_add_watch(n->inotify, m->config->policy_folder, NEWS);
}

static bool read_watch(struct notifier *n)
{
	_Alignas(struct inotify_event) char bytes[16384];
	bool policy = false;
	for (;;) {
		ssize_t len = read(n->inotify, bytes, sizeof bytes);
		if (len <= 0)
			return policy;
		for (char *at = bytes; at < bytes + len;) {
			const struct inotify_event *event = (const void *)at;
			at += sizeof *event + event->len;
			if (event->wd == n->policy_watch) {
				policy = true;
				if (event->mask & IN_IGNORED)
					n->policy_watch = 0;
				continue;
			}
			for (size_t i = 0; i < n->mesh->domain_count; i++) {
				if (event->wd != n->cache_watch[i] && event->wd != n->heads_watch[i])
					continue;
				if (event->mask & IN_IGNORED)
					n->cache_watch[i] = n->heads_watch[i] = 0;
				domain_host_refresh(&n->mesh->domains[i], NULL);
			}
		}
	}
}

static void poll_domains(struct notifier *n)
{
	struct mesh *m = n->mesh;
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < m->domain_count; i++) {
		struct domain_host *h = &m->domains[i];
		pthread_mutex_lock(&h->lock);
		bool due = h->asked && !h->refreshing && now - h->refreshed_ms >= m->config->refresh_ms;
		pthread_mutex_unlock(&h->lock);
		if (due)
			domain_host_refresh(h, NULL);
	}
}

/* -- the thread ------------------------------------------------------------------------------ */

/* False: not now, a request of the domain is parked. */
static bool handle_item(struct notifier *n, struct item *item)
{
	struct session *s;
	switch (item->kind) {
	case ITEM_DOMAIN:
		if (atomic_load(&item->domain->parked))
			return false;
		for (s = enter_next(n, NULL, false); s; s = enter_next(n, s, false))
			expire_domain(s, item->domain);
		reload_policy(n); /* its own rules travel with its catalog */
		return true;
	case ITEM_NAME:
		s = enter_next(n, item->session, true);
		if (s)
			kernel_notify_entry(s->kernel, item->parent, item->name);
		break;
	case ITEM_VIEWS:
		expire_all(n);
		return true;
	case ITEM_SESSION:
		s = enter_next(n, item->session, true);
		if (s && !kernel_tune(s->kernel)) {
			leave(n);
			return false;
		}
		break;
	}
	leave(n);
	return true;
}

/* Returns how long to sleep. */
static int drain(struct notifier *n)
{
	struct item *later = NULL, **later_last = &later, *item;
	while ((item = pop(n))) {
		if (handle_item(n, item)) {
			free(item);
		} else {
			item->next = NULL;
			*later_last = item;
			later_last = &item->next;
		}
	}
	if (!later)
		return TICK_MAX_MS;
	pthread_mutex_lock(&n->lock);
	*later_last = n->first;
	if (!n->first)
		n->last = later_last;
	n->first = later;
	pthread_mutex_unlock(&n->lock);
	return RETRY_MS;
}

static void *run(void *arg)
{
	struct notifier *n = arg;
	for (;;) {
		pthread_mutex_lock(&n->lock);
		bool stopping = n->stopping;
		pthread_mutex_unlock(&n->lock);
		if (stopping)
			return NULL;
		int timeout = drain(n);
		if (n->mesh->config->refresh_ms > 0 && n->mesh->config->refresh_ms < timeout)
			timeout = (int)n->mesh->config->refresh_ms;
		struct pollfd fds[2] = { { .fd = n->wake, .events = POLLIN }, { .fd = n->inotify, .events = POLLIN } };
		if (poll(fds, 2, timeout) > 0) {
			uint64_t count;
			if (fds[0].revents && read(n->wake, &count, sizeof count) < 0)
				continue;
			if (fds[1].revents && read_watch(n))
				reload_policy(n);
		}
		watch(n);
		poll_domains(n);
		expire_lapsed(n);
	}
}

int notify_start(struct mesh *m, struct notifier **ret, struct err *e)
{
	struct notifier *n = calloc(1, sizeof *n);
	if (!n)
		return err_set(e, -ENOMEM, "no memory");
	n->mesh = m;
	n->last = &n->first;
	n->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	n->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	n->cache_watch = calloc(m->domain_count + 1, sizeof *n->cache_watch);
	n->heads_watch = calloc(m->domain_count + 1, sizeof *n->heads_watch);
	pthread_mutex_init(&n->lock, NULL);
	pthread_cond_init(&n->idle, NULL);
	int r = n->wake < 0 || n->inotify < 0 ? -errno : !n->cache_watch || !n->heads_watch ? -ENOMEM : 0;
	if (!r)
		watch(n);
	if (!r)
		r = thread_start(&n->thread, "notifier", run, n);
	n->running = !r;
	if (r) {
		notify_free(n);
		return err_set(e, r, "cannot watch for changes: %s", strerror(-r));
	}
	*ret = n;
	return 0;
}

void notify_stop(struct notifier *n)
{
	uint64_t one = 1;
	if (!n || !n->running)
		return;
	pthread_mutex_lock(&n->lock);
	n->stopping = true;
	pthread_mutex_unlock(&n->lock);
	if (write(n->wake, &one, sizeof one) < 0)
		log_debug("notifier: %s", strerror(errno));
	pthread_join(n->thread, NULL);
	n->running = false;
}

void notify_free(struct notifier *n)
{
	if (!n)
		return;
	notify_stop(n);
	for (struct item *item; (item = pop(n));)
		free(item);
	if (n->wake >= 0)
		close(n->wake);
	if (n->inotify >= 0)
		close(n->inotify);
	free(n->cache_watch);
	free(n->heads_watch);
	pthread_mutex_destroy(&n->lock);
	pthread_cond_destroy(&n->idle);
	free(n);
}
