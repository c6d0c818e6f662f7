#include "fs/session.h"

#include "fs/draft.h"
#include "fs/handle.h"
#include "fs/hold.h"
#include "fs/kernel.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 4
#define WORKER_QUEUE_MAX (1u << 20) /* an interrupt is queued from a callback that may not wait */
#define SETTLE_MS 3000 /* how long a stop waits for requests that wait for a store */

/* -- the subject ------------------------------------------------------------------------------ */

static int set_subject(struct session *s, const struct session_config *c, struct err *e)
{
	int r = identity_of(c->user, &s->who, e);
	if (r)
		return r;
	if (s->who.uid != getuid() && geteuid() != 0)
		return err_set(e, -EACCES, "a session for %s can only be made by root", c->user);
	s->binding = s->who.uid != getuid();
	if ((r = opaque_init(&s->opaque, !s->binding)))
		return err_set(e, r, "the kernel gave no random bytes");
	s->purpose = c->purpose ? strdup(c->purpose) : NULL;
	if (c->purpose && !s->purpose)
		return err_set(e, -ENOMEM, "no memory");
	identity_subject(&s->who, &s->subject);
	s->subject.purpose = s->purpose;
	s->subject.host = s->mesh->host;
	return 0;
}

/* -- the run ---------------------------------------------------------------------------------- */

static int begin_run(struct session *s, const struct session_config *c, struct err *e)
{
	/* `have run` asks for a run that somebody named: one that a mount makes up does not count. */
	const char *named = c->run_name ? c->run_name : c->run_id;
	if (named && !(s->run = strdup(named)))
		return err_set(e, -ENOMEM, "no memory");
	s->subject.run = s->run;
	if (c->run_id) {
		snprintf(s->run_id, sizeof s->run_id, "%s", c->run_id);
		s->joined = true;
		return 0;
	}
	struct run_facts facts = { .name = c->run_name,
				   .user = s->who.user,
				   .uid = s->who.uid,
				   .groups = s->subject.groups,
				   .group_count = s->subject.group_count,
				   .purpose = s->purpose,
				   .command = c->command,
				   .host = s->mesh->host,
				   .mount = s->mountpoint };
	return recorder_begin_run(s->mesh->recorder, &facts, s->run_id, e);
}

/* -- start and stop --------------------------------------------------------------------------- */

static void close_backing(void *arg, uint32_t backing_id)
{
	struct session *s = arg;
	kernel_backing_close(s->kernel, backing_id);
}

static int start_parts(struct session *s, const struct session_config *c, struct err *e)
{
	char source[128];
	int r = set_subject(s, c, e);
	if (r)
		return r;
	s->mountpoint = strdup(c->mountpoint);
	s->pinned = c->pin;
	s->pins = calloc(s->mesh->domain_count + 1, sizeof *s->pins);
	s->nodes = nodes_new(slot_free, close_backing, s);
	s->workers = pool_new("session", WORKERS, WORKER_QUEUE_MAX);
	s->hold = s->binding ? hold_new() : NULL;
	if (!s->mountpoint || !s->pins || !s->nodes || !s->workers || (s->binding && !s->hold))
		return err_set(e, -ENOMEM, "no memory");
	/* A run starts with nothing but what it makes itself; a mount takes up what was left. */
	if ((r = drafts_new(s, !c->run_id && !c->pin, &s->drafts, e)))
		return r;
	for (size_t i = 0; s->pinned && i < s->mesh->domain_count; i++)
		s->pins[i] = domain_snapshot(s->mesh->domains[i].domain);
	snprintf(source, sizeof source, "meshfs:%.100s", s->mesh->config->name ? s->mesh->config->name : "mesh");
	struct kernel_config kernel = { .mountpoint = s->mountpoint,
					.source = source,
					.binding = s->binding,
					.no_passthrough = getenv("MESHFS_NO_PASSTHROUGH") != NULL };
	if ((r = kernel_mount(s, &kernel, &s->kernel, e)))
		return r;
	if ((r = begin_run(s, c, e)))
		return r;
	return kernel_serve(s->kernel, e);
}

static void list(struct session *s)
{
	pthread_mutex_lock(&s->mesh->lock);
	s->next = s->mesh->sessions;
	s->mesh->sessions = s;
	pthread_mutex_unlock(&s->mesh->lock);
	notify_session(s->mesh->notifier, s);
}

static void unlist(struct session *s)
{
	pthread_mutex_lock(&s->mesh->lock);
	struct session **at = &s->mesh->sessions;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	pthread_mutex_unlock(&s->mesh->lock);
	notify_session_gone(s->mesh->notifier, s);
}

static void session_free(struct session *s)
{
	nodes_free(s->nodes); /* closes backing ids: before the kernel's descriptor */
	kernel_free(s->kernel);
	drafts_free(s->drafts);
	for (size_t i = 0; s->pins && i < s->mesh->domain_count; i++)
		snapshot_unref(s->pins[i]);
	identity_fini(&s->who);
	free(s->pins);
	free(s->purpose);
	free(s->run);
	free(s->mountpoint);
	pthread_mutex_destroy(&s->parked_lock);
	pthread_mutex_destroy(&s->handles_lock);
	free(s);
}

int session_start(struct mesh *m, const struct session_config *c, struct session **ret, struct err *e)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->mesh = m;
	s->started_ns = clock_now_ns();
	pthread_mutex_init(&s->parked_lock, NULL);
	pthread_mutex_init(&s->handles_lock, NULL);
	int r = start_parts(s, c, e);
	if (r) {
		kernel_stop(s->kernel);
		drafts_stop(s->drafts, SETTLE_MS);
		pool_free(s->workers);
		hold_free(s->hold);
		if (*s->run_id && !s->joined)
			recorder_end_run(m->recorder, s->run_id, 1, NULL);
		session_free(s);
		return r;
	}
	list(s);
	*ret = s;
	return 0;
}

int session_wait(struct session *s, int64_t timeout_ms)
{
	return kernel_wait(s->kernel, timeout_ms);
}

void session_end(struct session *s)
{
	kernel_end(s->kernel);
}

int session_stop(struct session *s, int exit_status, struct err *e)
{
	int r = 0;
	struct mesh *m = s->mesh;
	kernel_stop(s->kernel);
	unlist(s);
	bool settled = drafts_stop(s->drafts, SETTLE_MS);
	settled = op_settle(s, SETTLE_MS) && settled;
	if (settled) {
		pool_free(s->workers);
		hold_free(s->hold);
		handles_sweep(s);
	}
	if (!s->joined)
		r = recorder_end_run(m->recorder, s->run_id, exit_status, e);
	if (settled)
		session_free(s);
	else
		atomic_store(&m->abandoned, true);
	return r;
}

const char *session_run_id(const struct session *s)
{
	return s->run_id;
}

const char *session_mountpoint(const struct session *s)
{
	return s->mountpoint;
}

const char *session_user(const struct session *s)
{
	return s->who.user;
}
