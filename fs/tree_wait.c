/* Parking a request until what it needs is here: a domain's first catalog, a manifest, the size of a view. */
#include "fs/tree.h"

#include "fs/content.h"
#include "fs/state.h"

#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_DEADLINE_MS 30000 /* how long a stat waits for a view's size */

static void manifest_job(void *arg)
{
	struct slot *slot = arg;
	struct manifest *m = NULL;
	struct err e = ERR_INIT;
	int r = domain_manifest(slot->domain->domain, slot->product, &slot->info, &m, &e);
	if (r)
		log_error("%s: %s", slot->address, e.text);
	pthread_mutex_lock(&slot->lock);
	if (!r && !slot->manifest) {
		slot->manifest = m;
		m = NULL;
	}
	slot->loading = false;
	struct op *waiters = slot->waiters;
	slot->waiters = NULL;
	pthread_mutex_unlock(&slot->lock);
	manifest_unref(m);
	while (waiters) {
		struct op *op = waiters;
		struct nodes *nodes = op->session->nodes;
		waiters = op->next;
		atomic_fetch_sub(&slot->domain->parked, 1);
		nodes_slot_unref(nodes, slot, 1); /* before the answer: with the last one the session may go */
		if (r) /* a manifest that its catalog names must be there: anything else is EIO to who reads */
			op_fail(op, -EIO);
		else
			op_resume(op);
	}
}

static void wait_manifest(struct op *op, struct slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	bool start = !slot->loading;
	slot->loading = true;
	op->next = slot->waiters;
	slot->waiters = op;
	atomic_fetch_add(&slot->domain->parked, 1);
	op_park(op);
	pthread_mutex_unlock(&slot->lock);
	if (start && domain_host_submit(slot->domain, manifest_job, slot))
		manifest_job(slot); /* no memory for a job: better late than never */
}

static void size_known(void *arg, int code, const char *reason)
{
	struct op *op = arg;
	(void)reason;
	op_set_token(op, 0);
	if (code && code != -EACCES) /* a view that cannot be made shows as a denied file */
		op_fail(op, code);
	else
		op_resume(op);
}

static void wait_content(struct op *op, struct content *content)
{
	uint64_t token = 0;
	if (op->content)
		content_unref(op->content);
	op->content = content; /* held until the answer, so that the size stays known */
	op_ref(op);
	op_park(op);
	int r = content_prepare(content, SIZE_DEADLINE_MS, size_known, op, &token);
	if (r)
		op_fail(op, r);
	else
		op_set_token(op, token);
	op_unref(op);
}

void tree_wait(struct op *op, struct wait *w)
{
	struct wait own = *w;
	*w = (struct wait){ 0 };
	switch (own.kind) {
	case WAIT_DOMAIN:
		if (domain_host_refresh(own.domain, op))
			log_error("%s: no memory for a request", own.domain->config->name);
		return;
	case WAIT_MANIFEST:
		wait_manifest(op, own.slot); /* the reference goes to the waiter */
		return;
	case WAIT_CONTENT:
		wait_content(op, own.content);
		return;
	case WAIT_NONE:
		break;
	}
	op_fail(op, -EAGAIN);
}
