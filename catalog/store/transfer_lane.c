/* Lanes: how many calls of a store run at once, what becomes of an attempt, and whether the store answers.  On the engine's thread but for lane_new and lane_free. */
#include "catalog/store/transfer_impl.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PROBE_FIRST_MS 1000
#define PROBE_MOST_MS 15000

/* -- health (engine thread) ---------------------------------------------------------------- */

static void lane_up(struct lane *l, int64_t now_ms)
{
	l->last_success_ms = now_ms;
	l->probe_delay_ms = 0;
	if (!atomic_exchange(&l->healthy, true))
		log_info("%s: the store answers again", l->config.label);
}

static void lane_down(struct transfer *t, struct lane *l, int64_t now_ms)
{
	struct call *c;
	if (atomic_exchange(&l->healthy, false)) {
		l->probe_delay_ms = PROBE_FIRST_MS;
		l->probe_at_ms = now_ms + PROBE_FIRST_MS;
	}
	for (int p = 0; p < 3; p++)
		while ((c = call_first(t, &l->queues[p])))
			call_finish(t, c, call_fail(c, -EIO, "the store does not answer"));
	while ((c = call_first(t, &l->waiting)))
		call_finish(t, c, c->e.code && c->e.code != -EAGAIN ? c->e.code : call_fail(c, -EIO, "the store does not answer"));
}

void lane_probe_done(struct lane *l, CURLcode result, int64_t now_ms)
{
	long status = 0;
	curl_easy_getinfo(l->probe, CURLINFO_RESPONSE_CODE, &status);
	if (result == CURLE_OK && status > 0 && !status_is_transient((int)status)) {
		lane_up(l, now_ms);
	} else {
		l->probe_delay_ms = l->probe_delay_ms * 2 < PROBE_MOST_MS ? l->probe_delay_ms * 2 : PROBE_MOST_MS;
		l->probe_at_ms = now_ms + l->probe_delay_ms;
	}
	curl_easy_cleanup(l->probe);
	l->probe = NULL;
}

/* -- attempts (engine thread) -------------------------------------------------------------- */

static void give_back_easy(struct call *c)
{
	struct lane *l = c->lane;
	if (!c->easy)
		return;
	if (l->idle_count < sizeof l->idle / sizeof *l->idle)
		l->idle[l->idle_count++] = c->easy;
	else
		curl_easy_cleanup(c->easy);
	c->easy = NULL;
}

void lane_release(struct transfer *t, struct call *c)
{
	if (c->easy)
		curl_multi_remove_handle(t->multi, c->easy);
	c->lane->active_count[c->counted]--;
	give_back_easy(c);
	attempt_reset(c);
}

/* Ends the call, or has it wait for its next try.  Not active any more (no slot). */
void lane_conclude(struct transfer *t, struct call *c, int verdict, int64_t now_ms)
{
	struct lane *l = c->lane;
	if (verdict == 0) {
		lane_up(l, now_ms);
		call_finish(t, c, 0);
		return;
	}
	if (verdict != -EAGAIN) {
		/* The server spoke, if only to refuse; our own ends (no memory, cancelled) say nothing of it. */
		if (c->answer->status && !status_is_transient(c->answer->status))
			lane_up(l, now_ms);
		call_finish(t, c, verdict);
		return;
	}
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)now_ms * 2654435761u;
	c->answer->retried = true;
	int64_t wait = retry_delay_ms(++c->attempts, random);
	if (c->retry_after_ms > wait)
		wait = c->retry_after_ms;
	bool late = now_ms + wait >= c->deadline_at_ms, tired = c->attempts > t->config.max_retries;
	if (!late && !tired && atomic_load(&l->healthy)) {
		c->retry_at_ms = now_ms + wait;
		pthread_mutex_lock(&t->lock);
		call_move_locked(c, CALL_WAITING);
		pthread_mutex_unlock(&t->lock);
		return;
	}
	c->e.code = late && !tired ? -ETIMEDOUT : -EIO;
	c->e.kind = ERR_FAIL;
	bool down = l->last_success_ms < c->submitted_ms;
	call_finish(t, c, c->e.code);
	if (down)
		lane_down(t, l, now_ms);
}

void lane_start(struct transfer *t, struct call *c, int64_t now_ms)
{
	struct lane *l = c->lane;
	l->active_count[c->counted]++;
	int r;
	if (now_ms >= c->deadline_at_ms)
		r = call_fail(c, -ETIMEDOUT, "the deadline passed before a connection was free");
	else if (!(c->easy = l->idle_count ? l->idle[--l->idle_count] : curl_easy_init()))
		r = call_fail(c, -ENOMEM, "out of memory");
	else
		r = attempt_prepare(c, &t->config, now_ms);
	if (!r && curl_multi_add_handle(t->multi, c->easy) != CURLM_OK) {
		curl_easy_cleanup(c->easy);
		c->easy = NULL;
		r = call_fail(c, -ENOMEM, "out of memory");
	}
	if (r) {
		lane_release(t, c);
		call_finish(t, c, r);
	}
}

/* May a call of this priority start now?  Less urgent ones leave room for demand. */
static bool has_slot(const struct transfer *t, const struct lane *l, enum fetch_priority p)
{
	unsigned limit = t->config.max_connections_per_store;
	unsigned all = l->active_count[0] + l->active_count[1] + l->active_count[2];
	if (p == FETCH_READAHEAD)
		limit -= limit / 4;
	else if (p == FETCH_WARM)
		limit -= limit / 2;
	return all < limit;
}

struct call *lane_next(struct transfer *t, struct lane *l)
{
	struct call *c = NULL;
	pthread_mutex_lock(&t->lock);
	for (int p = 0; p < 3 && !c; p++)
		if (l->queues[p].first && has_slot(t, l, (enum fetch_priority)p))
			c = l->queues[p].first;
	if (c) {
		call_move_locked(c, CALL_ACTIVE);
		c->counted = c->priority;
	}
	pthread_mutex_unlock(&t->lock);
	return c;
}

/* Waiting calls whose time has come go to the end of their queue.  Returns when the next one is due. */
int64_t lane_wake(struct transfer *t, struct lane *l, int64_t now_ms)
{
	int64_t due = now_ms + IDLE_POLL_MS;
	pthread_mutex_lock(&t->lock);
	for (struct call *c = l->waiting.first, *next; c; c = next) {
		next = c->next;
		if (c->retry_at_ms <= now_ms)
			call_move_locked(c, CALL_QUEUED);
		else if (c->retry_at_ms < due)
			due = c->retry_at_ms;
	}
	pthread_mutex_unlock(&t->lock);
	return due;
}

/* Ends all that the lane has, and lets go of its handles. */
void lane_dismantle(struct transfer *t, struct lane *l)
{
	struct call *c;
	while ((c = call_first(t, &l->active))) {
		lane_release(t, c);
		call_finish(t, c, call_fail(c, -ECANCELED, "the transfer was cancelled"));
	}
	for (int q = 0; q < 4; q++)
		while ((c = call_first(t, q < 3 ? &l->queues[q] : &l->waiting)))
			call_finish(t, c, call_fail(c, -ECANCELED, "the transfer was cancelled"));
	while (l->idle_count)
		curl_easy_cleanup(l->idle[--l->idle_count]);
	if (l->probe) {
		curl_multi_remove_handle(t->multi, l->probe);
		curl_easy_cleanup(l->probe);
		l->probe = NULL;
	}
}

void lane_start_probe(struct transfer *t, struct lane *l)
{
	if (probe_prepare(l, &t->config) || curl_multi_add_handle(t->multi, l->probe) != CURLM_OK) {
		curl_easy_cleanup(l->probe);
		l->probe = NULL;
		l->probe_at_ms = clock_mono_ms() + PROBE_MOST_MS;
	}
}

/* -- from any thread ----------------------------------------------------------------------- */

bool lane_healthy(const struct lane *l)
{
	return atomic_load(&l->healthy);
}

static void free_lane(struct lane *l)
{
	free((char *)l->config.label);
	free((char *)l->config.probe_url);
	free(l->ca_file);
	free(l);
}

/* The authorities to trust besides the system's: for stores with a certificate of one's own. */
static const char *ca_file_from_environment(void)
{
	static const char *const names[] = { "MESHFS_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return v;
	}
	return NULL;
}

int lane_new(struct transfer *t, const struct lane_config *config, struct lane **ret, struct err *e)
{
	struct lane *l = calloc(1, sizeof *l);
	bool failed = false;
	if (!t || !l) {
		free(l);
		return err_set(e, t ? -ENOMEM : -EINVAL, t ? "out of memory" : "a remote store needs a transfer engine");
	}
	l->config = *config;
	l->config.label = transfer_copy(config->label, &failed);
	l->config.probe_url = transfer_copy(config->probe_url, &failed);
	l->ca_file = transfer_copy(ca_file_from_environment(), &failed);
	for (int i = 0; i < 3; i++)
		call_queue_init(&l->queues[i]);
	call_queue_init(&l->active);
	call_queue_init(&l->waiting);
	atomic_init(&l->healthy, true);
	l->transfer = t;
	pthread_mutex_lock(&t->lock);
	int r = failed ? -ENOMEM : transfer_run_locked(t);
	if (!r) {
		l->next = t->lanes;
		t->lanes = l;
	}
	pthread_mutex_unlock(&t->lock);
	if (r) {
		free_lane(l);
		return err_set(e, r, "cannot start the transfers: %s", strerror(-r));
	}
	*ret = l;
	return 0;
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	struct transfer *t = l->transfer;
	if (t) {
		pthread_mutex_lock(&t->lock);
		l->closing = true;
		curl_multi_wakeup(t->multi);
		while (!l->closed)
			pthread_cond_wait(&t->lane_closed, &t->lock);
		pthread_mutex_unlock(&t->lock);
	}
	free_lane(l);
}
