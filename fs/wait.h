/*
 * Parked requests: those that wait for bytes or for a view index, and how such a wait ends: by what it waited for, by its
 * deadline, or by cancellation; exactly one of them.
 *
 * A wait is RUNNING while some thread works on it, PARKED while it stands in a queue, DONE for ever after its callback was
 * taken.  Only the thread that moved it from PARKED may go on with it.
 *
 * Thread rules: any thread; the registry's lock is a leaf, callbacks run without it.
 */
#ifndef MESHFS_FS_WAIT_H
#define MESHFS_FS_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum wait_state { WAIT_RUNNING, WAIT_PARKED, WAIT_DONE };

struct waits;

struct wait {
	_Atomic int refs, state, cancelled; /* cancelled: 0 or the negative errno to end with */
	int64_t deadline_ms;                /* monotonic */
	uint64_t token;                     /* 0: not registered */
	struct wait *next;                  /* in the queue of what it waits for */
	void (*fail)(struct wait *w, int code); /* calls back with the error; runs once at most */
	void (*destroy)(struct wait *w);
};

struct waits *waits_new(void);
void waits_free(struct waits *ws); /* none may be registered */

/* A new wait is RUNNING and has one reference, which belongs to the one who ends it. */
void wait_init(struct wait *w, void (*fail)(struct wait *w, int code), void (*destroy)(struct wait *w));
int waits_add(struct waits *ws, struct wait *w, int64_t deadline_ms); /* 0 or -ENOMEM; gives it a token */
void wait_ref(struct wait *w);
void wait_unref(struct wait *w);

/* RUNNING → PARKED.  The caller holds the lock of the queue it put the wait into.  Afterwards (lock dropped) it calls
 * wait_check, which ends a wait that was cancelled while it ran. */
void wait_park(struct wait *w);
void wait_check(struct waits *ws, struct wait *w);
/* PARKED → RUNNING; false when it has ended meanwhile. */
bool wait_resume(struct wait *w);
/* RUNNING → DONE by the thread that works on it, which then calls back itself; drops the owner's reference after. */
void wait_end(struct waits *ws, struct wait *w);

void waits_cancel(struct waits *ws, uint64_t token, int code);
/* Ends what is past its deadline with `code` (all, when `now_ms` is INT64_MAX). */
void waits_expire(struct waits *ws, int64_t now_ms, int code);
unsigned waits_count(struct waits *ws);

#endif
